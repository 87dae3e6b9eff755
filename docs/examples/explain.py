"""The heads and word pairs a classifier's predictions rest on; cells for a notebook or editor.

python docs/examples/explain.py [MODEL]

MODEL is a folder or a hub name; without it, the demo model is built. Writes explain.html and
explain.safetensors into the current folder.
"""

# %% A model and some texts. A pair of strings is a premise with its hypothesis.
import sys
from pathlib import Path

import headwise
from demo.model import build

model_name = sys.argv[1] if len(sys.argv) > 1 else str(build(Path("demo-nli")))
loaded = headwise.load(model_name)
texts = [
    ("A man is playing a guitar on stage.", "A musician is performing."),
    ("A man is playing a guitar on stage.", "Nobody is making music."),
    ("The river floods the village.", "The village is dry."),
]

# %% The attribution of every head, for every text. In a notebook, the result shows itself.
result = headwise.attribute(loaded.model, loaded.tokenizer, texts)
result

# %% The importance of the heads, [sites, heads], and the five most important ones.
importance = result.importance()
frame = result.to_dataframe()
print(frame.groupby(["layer", "head"]).score.mean().nlargest(5))

# %% The strongest pairs of words of the first text, word pieces summed up.
words = result.words()[0]
for pair in words.pairs(5):
    query, key = words.texts[pair.query], words.texts[pair.key]
    print(f"{pair.value:+.3f} layer {pair.site.layer} head {pair.head}: {query} -> {key}")

# %% One example as a page of its own.
result.picture(0).save("explain.html")

# %% How far the integral is from exact: the completeness of every example and site.
print(f"largest residual {abs(result.residual).max():.1e}, all converged: {result.converged.all()}")

# %% The same heads by other methods: is a head important because it attends, or because F changes?
for method in ("attention-gradient", "attention", "random"):
    other = headwise.attribute(loaded.model, loaded.tokenizer, texts, method=method)
    same = importance.ravel().argsort()[-5:, None] == other.importance().ravel().argsort()[-5:]
    print(f"{method}: {same.sum()} of the 5 most important heads are the same")

# %% Keep everything, and read it back.
result.save("explain.safetensors")
again = headwise.Attribution.load("explain.safetensors")
print(f"{len(again)} examples by {again.method}")
