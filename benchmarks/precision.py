"""Errors of single precision and bf16 against double precision.

    python -m benchmarks.precision

For a random BERT (3 layers, 4 heads, 32 wide) and the demo model, with the same 16
Gauss-Legendre points in every precision, so that only rounding differs. The error of an example's
site is the L2 norm, over heads and cells, of the difference to double precision, relative to the
norm there.
"""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedModel

import headwise
from demo.model import build
from headwise.encoding import encode

_PAIRS = Path(__file__).parents[1] / "demo/pairs.jsonl"
_EXAMPLES = 8
_POINTS = "gauss-legendre:16"

Encoded = list[dict[str, list[int]]]


def main() -> None:
    print("| model | precision | error, median | error, largest | importance, largest |")
    print("| --- | --- | --- | --- | --- |")
    for name, (model, inputs) in {"random BERT": _random(), "demo model": _demo()}.items():
        exact = _run(copy.deepcopy(model).double(), inputs, "float32")
        for precision in ("float32", "bf16"):
            got = _run(model, inputs, precision)
            errors = _errors(got, exact)
            size = np.abs(exact.importance()).max()
            importance = np.abs(got.importance() - exact.importance()).max() / size
            numbers = (np.median(errors), errors.max(), importance)
            print(f"| {name} | {precision} | {' | '.join(f'{n:.0e}' for n in numbers)} |")


def _run(model: PreTrainedModel, inputs: Encoded, precision: str) -> headwise.Attribution:
    # The same class for every precision, should rounding change which one is predicted.
    return headwise.attribute_encoded(
        model, inputs, target=0, integration=_POINTS, precision=precision
    )


def _errors(got: headwise.Attribution, exact: headwise.Attribution) -> np.ndarray:
    """Relative error of every example and site."""
    assert got.matrices is not None
    assert exact.matrices is not None
    pairs = zip(got.matrices, exact.matrices, strict=True)
    return np.concatenate(
        [
            np.linalg.norm((one - other).reshape(len(other), -1), axis=1)
            / np.linalg.norm(other.reshape(len(other), -1), axis=1)
            for one, other in pairs
            if one is not None and other is not None
        ]
    )


def _random() -> tuple[PreTrainedModel, Encoded]:
    config = BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.15,
        num_labels=3,
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    generator = np.random.default_rng(0)
    lengths = range(8, 8 + 2 * _EXAMPLES, 2)
    return model, [{"input_ids": generator.integers(1, 60, n).tolist()} for n in lengths]


def _demo() -> tuple[PreTrainedModel, Encoded]:
    with tempfile.TemporaryDirectory() as folder:
        loaded = headwise.load(str(build(Path(folder) / "demo-nli")))
    lines = _PAIRS.read_text(encoding="utf-8").splitlines()[:_EXAMPLES]
    texts = [(row["premise"], row["hypothesis"]) for row in map(json.loads, lines)]
    return loaded.model, [
        {"input_ids": list(e.ids), "token_type_ids": list(e.token_types or [0] * len(e.ids))}
        for e in encode(loaded.model, loaded.tokenizer, texts, None)
    ]


if __name__ == "__main__":
    main()
