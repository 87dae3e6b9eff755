"""Selecting the strongest cells of attributions, from which trees are built.

Whole matrices stay on the device that computed them: for each text they are some hundred kilobytes,
of which a few hundred cells are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwise.trees.cells import (
    FLOOR,
    MAX_CELLS,
    Interactions,
    SiteCells,
    SiteLike,
    is_last,
    side_of,
)


def interactions(
    summed: NDArray[np.floating], sites: Sequence[SiteLike], floor: float = FLOOR
) -> Interactions:
    """Select the strongest cells of one example, as ``BatchCells`` does.

    summed: Attr summed over heads, floating point [S, n, n], rows are queries
    """
    matrices = [torch.from_numpy(matrix)[None] for matrix in summed]
    lengths = torch.tensor([summed.shape[-1]])
    (found,) = BatchCells.select(matrices, lengths, sites, floor).interactions()
    return found


@dataclass(frozen=True, kw_only=True)
class SiteCandidates:
    """Cells of one site of a batch, among which those that are kept are.

    examples, queries, keys: the places of K cells, int [K]; by example
    values: floating point [K]
    """

    examples: NDArray[np.integer]
    queries: NDArray[np.integer]
    keys: NDArray[np.integer]
    values: NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class BatchCells:
    """The cells of a batch of B examples that are above the floor of their site, on the host.

    lengths, classifier, outgoing: as in ``Interactions``, of each example
    largest, other: the largest cell of each site, and the same without the classifier token's row,
        rounded, [S, B]
    """

    lengths: Sequence[int]
    classifier: Sequence[int]
    outgoing: Sequence[int]
    floor: float
    largest: NDArray[np.float64]
    other: NDArray[np.float64]
    sites: Sequence[SiteCandidates]

    @classmethod
    def select(
        cls,
        summed: Sequence[Tensor],
        lengths: Tensor,
        sites: Sequence[SiteLike],
        floor: float = FLOOR,
    ) -> Self:
        """Select them on the device of the matrices.

        summed: per site, Attr summed over heads, floating point [B, n, n]; rows are queries
        lengths: number of tokens of each example, int [B]
        floor: keep cells above this share of the maximum of their site; in the last layer, all
            positive ones
        """
        real = torch.arange(summed[0].shape[-1], device=lengths.device) < lengths[:, None]
        values = [torch.nan_to_num(matrix) for matrix in summed]
        classifier = values[-1].abs().sum(2).argmax(1)
        shown = values if real.all() else [_masked(matrix, real) for matrix in values]
        rows = [matrix.amax(2) for matrix in shown]
        largest, other = _largest(torch.stack(rows), classifier)
        for matrix, site in zip(values, sites, strict=True):
            if site.attention_type != "cross":
                matrix.diagonal(dim1=1, dim2=2).zero_()
        floors = [0 if is_last(site, sites) else floor for site in sites]
        limits = _limits(largest, other, floors)
        return cls(
            lengths=lengths.tolist(),
            classifier=classifier.tolist(),
            outgoing=_outgoing(values, sites, classifier).tolist(),
            floor=floor,
            largest=largest,
            other=other,
            sites=[_candidates(*site) for site in zip(values, rows, limits, strict=True)],
        )

    def interactions(self) -> list[Interactions]:
        """Return what is kept of each example.

        Each site keeps its MAX_CELLS * n strongest cells and all of the token that the classifier
        reads, rounded to five significant digits.
        """
        cells = [self._strongest(site) for site in self.sites]
        columns = (self.largest.T.tolist(), self.other.T.tolist(), zip(*cells, strict=True))
        by_example = [zip(*one, strict=True) for one in zip(*columns, strict=True)]
        return [
            Interactions(
                length=length,
                classifier=self.classifier[example],
                outgoing=self.outgoing[example],
                floor=self.floor,
                sites=tuple(
                    SiteCells(largest=top, largest_other=other, cells=kept)
                    for top, other, kept in of_example
                ),
            )
            for example, (length, of_example) in enumerate(
                zip(self.lengths, by_example, strict=True)
            )
        ]

    def _strongest(self, found: SiteCandidates) -> list[tuple[tuple[int, int, float], ...]]:
        """The cells of one site that are kept of each example, strongest first."""
        ends = np.searchsorted(found.examples, np.arange(len(self.lengths) + 1)).tolist()
        order = [
            a + _order(found.values[a:b], found.queries[a:b] == reads, MAX_CELLS * length)
            for (a, b), length, reads in zip(
                pairwise(ends), self.lengths, self.classifier, strict=True
            )
        ]
        taken, ends = np.concatenate(order), np.cumsum([0, *map(len, order)]).tolist()
        columns = (found.queries, found.keys, _rounded(found.values))
        kept = [column[taken].tolist() for column in columns]
        return [
            tuple(zip(*(column[a:b] for column in kept), strict=True)) for a, b in pairwise(ends)
        ]


def _masked(matrix: Tensor, real: Tensor) -> Tensor:
    return matrix.masked_fill(~(real[:, :, None] & real[:, None, :]), -math.inf)


def _largest(rows: Tensor, classifier: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest cell of each site, and the same without the classifier token's row, [S, B].

    rows: the largest cell of each row, [S, B, n]
    """
    index = classifier[None, :, None].expand(len(rows), -1, 1)
    others = rows.scatter(2, index, -math.inf).amax(2).clamp_min(0)
    return _rounded(rows.amax(2).cpu().numpy()), _rounded(others.cpu().numpy())


def _outgoing(flat: Sequence[Tensor], sites: Sequence[SiteLike], classifier: Tensor) -> Tensor:
    """The root of the paper's code: largest row of positive off-diagonal cells, over all layers."""
    top = [s for s, site in enumerate(sites) if side_of(site) == side_of(sites[-1])]
    rows = torch.stack([flat[s] for s in top]).sum(0).clamp_min(0).sum(2)
    rows.scatter_(1, classifier[:, None], 0)
    return torch.where(rows.any(1), rows.argmax(1), classifier)


def _limits(
    largest: NDArray[np.float64], other: NDArray[np.float64], floors: Sequence[float]
) -> NDArray[np.float64]:
    """The limit that a cell must be above, [S, B]: a share of the smaller positive maximum."""
    tops = np.stack([largest, other])
    smaller = np.where(tops > 0, tops, math.inf).min(0)
    return np.asarray(floors)[:, None] * np.where(smaller < math.inf, smaller, 0)


def _candidates(flat: Tensor, rows: Tensor, limits: NDArray[np.float64]) -> SiteCandidates:
    """The cells of one site above the limit of their example.

    flat: [B, n, n], with zeros for padding
    rows: at least the largest cell of each row, [B, n]: most rows have none that is kept
    """
    limit = torch.from_numpy(limits).to(flat)
    example, query = (rows > limit[:, None]).nonzero(as_tuple=True)
    found = flat[example, query]
    row, key = (found > limit[example, None]).nonzero(as_tuple=True)
    places = torch.stack([example[row], query[row], key]).cpu().numpy()
    return SiteCandidates(
        examples=places[0], queries=places[1], keys=places[2], values=found[row, key].cpu().numpy()
    )


def _order(
    values: NDArray[np.floating], of_classifier: NDArray[np.bool_], most: int
) -> NDArray[np.intp]:
    """The places of the largest values, largest first, and of all those of the classifier token.

    The latter keeps all of its cells: in the last layer, others could displace them.
    """
    if len(values) <= most:
        return np.argsort(-values, kind="stable")
    least = np.partition(values, -most)[-most]
    near = np.flatnonzero((values >= least) | of_classifier)
    order = near[np.argsort(-values[near], kind="stable")]
    return order[(np.arange(len(order)) < most) | of_classifier[order]]


def _rounded(values: Any) -> NDArray[np.float64]:
    """Round to five significant digits."""
    exact = np.asarray(values, dtype=np.float64)
    magnitude = np.floor(np.log10(np.abs(exact), where=exact != 0, out=np.zeros_like(exact)))
    # An integer over a power of ten is the double nearest to the decimal number.
    scale = 10.0 ** np.minimum(4 - magnitude, 300)
    rounded: NDArray[np.float64] = np.round(exact * scale) / scale
    return rounded
