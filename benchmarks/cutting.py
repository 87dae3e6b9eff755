"""The effect on the output of cutting the edges of attribution trees.

Cutting an edge sets its cell of the attention probabilities to zero in all heads of its site,
without renormalising, so that nothing flows along it. Each text is compared with itself: the
tree's edges against the same number of other edges in the same sites.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attribution.engine import attribute
from headwise.encoding import Encoded, Text, encode, pad, pad_id
from headwise.errors import OptionError
from headwise.replay import Inputs, Replay
from headwise.replay.hooks import Attention, attend, handling
from headwise.targets import TargetFunction, model_outputs
from headwise.trees import TAU, TAU_LAST

Cut = Sequence[tuple[int, int, int]]
"""(site, query, key) of the cells that are cut."""

KINDS = ("tree", "attention", "attention keys", "random", "random keys")
"""Whose cells are cut, as many in each site as the tree has there: the tree's edges; the strongest
by attention, summed over heads; any at random. Of a last layer of which the classifier reads one
token most cells do nothing, so those are easy to beat; the kinds of ``keys`` are the same choices
among the keys of each token that reads in the tree, as many as it reads there."""

_NORMAL = 1.959964
"""The 97.5 % quantile of the normal distribution: half-width of a 95 % interval in errors."""


@dataclass(frozen=True, kw_only=True)
class CutResult:
    """Effects on E texts of cutting some of their attention.

    edges: edges of the text's tree, int [E]
    probability: of the target, nothing cut, float64 [E]
    change: by kind of KINDS the change of that probability, float64 [E], mean over the draws
    """

    edges: NDArray[np.int64]
    probability: NDArray[np.float64]
    change: dict[str, NDArray[np.float64]]

    def mean(self, kind: str) -> tuple[float, float]:
        """Mean change and half of its 95 % interval (normal)."""
        return _mean(self.change[kind])

    def difference(self, kind: str) -> tuple[float, float]:
        """The tree's change minus that of another kind, paired by text: mean and half interval."""
        return _mean(self.change["tree"] - self.change[kind])


def cut_experiment(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    *,
    root: str | int = "classifier",
    tau: float = TAU,
    tau_last: float = TAU_LAST,
    draws: int = 4,
    seed: int = 0,
    max_length: int | None = None,
    rtol: float = 1e-2,
) -> CutResult:
    """Cut the edges of the trees of texts, and other edges, and compare.

    root, tau, tau_last: see ``Attribution.tree``
    draws: number of draws of random edges for each text, by ``seed`` and the text's index
    rtol: of the attribution, of the predicted class's probability

    Texts that fail and trees without an edge are left out.

    Raises OptionError for a bad argument, or if nothing is left, and UnsupportedModelError.
    """
    if draws < 1:
        raise OptionError(f"draws must be at least 1, not {draws}")
    result = attribute(
        model, tokenizer, texts, max_length=max_length, rtol=rtol, matrices=False, edges=0
    )
    encoded = encode(model, tokenizer, texts, max_length)
    rows: list[tuple[int, float, dict[str, float]]] = []
    with Replay(model) as replay, torch.no_grad():
        for example, error in enumerate(result.errors):
            if error is not None:
                continue
            cut = result.tree(example, root=root, tau=tau, tau_last=tau_last).edges()
            if not cut:
                continue
            inputs, attention = _read(replay, encoded[example])
            generator = np.random.default_rng([seed, example])
            cuts = _cuts(attention, cut, draws, generator)
            variants = [(), *(one for several in cuts.values() for one in several)]
            target = int(result.target[example])
            found = _probabilities(replay, inputs, variants, target)
            rows.append((len(cut), found[0], _changes(cuts, found)))
    if not rows:
        raise OptionError(
            "there is no edge to cut: all texts failed, or their trees have only roots"
        )
    return CutResult(
        edges=np.array([row[0] for row in rows]),
        probability=np.array([row[1] for row in rows]),
        change={kind: np.array([row[2][kind] for row in rows]) for kind in KINDS},
    )


def cut_logits(replay: Replay, inputs: Inputs, cuts: Sequence[Cut]) -> Tensor:
    """Logits [B, C] of a batch whose rows have attention cells set to zero in all heads.

    replay: entered; inputs: of B rows; cuts: the cells to cut in each of them
    """
    by_site: dict[int, list[tuple[int, int, int]]] = {}
    for row, cut in enumerate(cuts):
        for site, query, key in cut:
            by_site.setdefault(site, []).append((row, query, key))
    sites = iter(range(len(replay.sites)))

    def without(call: Attention) -> Tensor:
        cells = by_site.get(next(sites))
        if cells is None:
            return attend(call)
        row, query, key = torch.tensor(cells, device=call.value.device).unbind(1)
        weights = call.probabilities().clone()
        weights[row, :, query, key] = 0
        return (weights @ call.repeated().value).transpose(1, 2)

    with handling(without):
        logits: Tensor = replay.model(**inputs).logits
    return logits


def _read(replay: Replay, encoded: Encoded) -> tuple[Inputs, list[NDArray[np.float32]]]:
    """One text as a batch, and its attention summed over heads, [n, n] per site."""
    inputs = pad([encoded], pad_id(replay.model), replay.device)
    recording = replay.record(inputs)
    summed = [recording.attention(site)[0].sum(0) for site in range(len(replay.sites))]
    return inputs, [matrix.float().cpu().numpy() for matrix in summed]


def _cuts(
    attention: Sequence[NDArray[np.float32]], tree: Cut, draws: int, generator: np.random.Generator
) -> dict[str, list[Cut]]:
    """The cells to cut for each of KINDS, in several draws where they are random."""
    cuts: dict[str, list[Any]] = {
        kind: [[] for _ in range(draws if kind.startswith("random") else 1)] for kind in KINDS
    }
    cuts["tree"] = [tree]
    for site in sorted({edge[0] for edge in tree}):
        readers = [query for s, query, _ in tree if s == site]
        # What a causal model cannot read is no edge. A cell (i, i) is none either.
        weights = attention[site] * ~np.eye(len(attention[site]), dtype=bool)
        cells = np.argwhere(weights > 0)
        parts = [
            (cells[cells[:, 0] == query], readers.count(query)) for query in sorted(set(readers))
        ]
        for kind, pools in (("", [(cells, len(readers))]), (" keys", parts)):
            for pool, count in pools:
                order = np.argsort(-weights[tuple(pool.T)], kind="stable")[:count]
                cuts["attention" + kind][0] += [(site, *cell) for cell in pool[order].tolist()]
                for draw in cuts["random" + kind]:
                    chosen = generator.permutation(len(pool))[:count]
                    draw += [(site, *cell) for cell in pool[chosen].tolist()]
    return cuts


def _probabilities(replay: Replay, inputs: Inputs, cuts: Sequence[Cut], target: int) -> list[float]:
    """The target's probability for one text without each of the cuts."""
    batch = {name: tensor.expand(len(cuts), -1) for name, tensor in inputs.items()}
    function = TargetFunction(output="probability", outputs=model_outputs(replay.model))
    found: list[float] = function.probabilities(cut_logits(replay, batch, cuts))[:, target].tolist()
    return found


def _changes(cuts: dict[str, list[Cut]], found: Sequence[float]) -> dict[str, float]:
    """Mean change by kind; found: the probabilities, first that of the whole text."""
    changes, place = {}, 1
    for kind, several in cuts.items():
        changes[kind] = float(np.mean(found[place : place + len(several)])) - found[0]
        place += len(several)
    return changes


def _mean(values: NDArray[np.float64]) -> tuple[float, float]:
    if len(values) < 2:
        return float(values.mean()), math.nan
    return float(values.mean()), _NORMAL * float(values.std(ddof=1)) / math.sqrt(len(values))
