"""The strongest cells of one example's attribution, from which its tree is built."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FLOOR = 0.2
"""``interactions`` drops cells below this share of the largest cell of their site."""
MAX_CELLS = 4
"""Cells per site and token that ``interactions`` keeps, besides those of the classifier token."""


class SiteLike(Protocol):
    """The properties of a site that trees depend on."""

    @property
    def layer(self) -> int: ...
    @property
    def attention_type(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class SiteCells:
    """The strongest cells of one site; Attr is summed over its heads.

    largest: largest cell of the site
    largest_other: the same without the row of the token that the classifier reads
    cells: (query, key, value), strongest first, without the diagonal of self-attention
    """

    largest: float
    largest_other: float
    cells: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """The cells of one example from which trees for any thresholds can be built.

    length: number of tokens
    classifier: position of the token that the classifier reads
    outgoing: position of the token with the most outgoing attribution over all layers, the
        classifier token excepted
    floor: cells above this share of the maximum of their site are kept; in the last layer, all
        positive ones
    sites: in order of evaluation
    """

    length: int
    classifier: int
    outgoing: int
    floor: float
    sites: tuple[SiteCells, ...]

    def to_json(self) -> str:
        """Return compact JSON for ``from_json``."""
        # Not asdict, which copies every cell.
        values = vars(self) | {"sites": [vars(site) for site in self.sites]}
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def from_json(cls, stored: str) -> Interactions:
        """Read what ``to_json`` wrote."""
        values: dict[str, Any] = json.loads(stored)
        sites = tuple(
            SiteCells(**{**site, "cells": tuple((q, k, v) for q, k, v in site["cells"])})
            for site in values.pop("sites")
        )
        return cls(sites=sites, **values)


def interactions(
    summed: NDArray[np.floating], sites: Sequence[SiteLike], floor: float = FLOOR
) -> Interactions:
    """Select the strongest cells of one example's attribution.

    summed: Attr summed over heads, floating point [S, n, n], rows are queries
    floor: keep cells above this share of the maximum of their site; in the last layer, all
        positive ones

    Each site keeps its MAX_CELLS * n strongest cells and all of the token that the classifier
    reads, rounded to five significant digits.
    """
    values = np.nan_to_num(summed)
    length = values.shape[-1]
    reading = np.abs(values[-1]).sum(1)
    classifier = int(reading.argmax())
    flat = values.copy()
    for matrix, site in zip(flat, sites, strict=True):
        if site.attention_type != "cross":
            np.fill_diagonal(matrix, 0)
    return Interactions(
        length=length,
        classifier=classifier,
        outgoing=_outgoing(flat, sites, classifier),
        floor=floor,
        sites=tuple(
            _strongest(values[s], flat[s], classifier, 0 if is_last(site, sites) else floor)
            for s, site in enumerate(sites)
        ),
    )


def _strongest(
    values: NDArray[np.floating], flat: NDArray[np.floating], classifier: int, floor: float
) -> SiteCells:
    length, width = values.shape
    rows = values.max(1)
    others = np.delete(rows, classifier)
    largest, other = (float(_rounded(top)) for top in (rows.max(), others.max(initial=0)))
    tops = [top for top in (largest, other) if top > 0]
    cells = np.flatnonzero(flat > floor * min(tops, default=0))
    cells = cells[np.argsort(-flat.ravel()[cells], kind="stable")]
    # The classifier token keeps all of its cells; in the last layer, others could displace them.
    cells = cells[(np.arange(len(cells)) < MAX_CELLS * length) | (cells // width == classifier)]
    queries, keys = np.divmod(cells, width)
    columns = (queries, keys, _rounded(flat.ravel()[cells]))
    kept = tuple(zip(*(column.tolist() for column in columns), strict=True))
    return SiteCells(largest=largest, largest_other=other, cells=kept)


def _outgoing(flat: NDArray[np.floating], sites: Sequence[SiteLike], classifier: int) -> int:
    """The root of the paper's code: largest row of positive off-diagonal cells, over all layers."""
    top = [s for s, site in enumerate(sites) if side_of(site) == side_of(sites[-1])]
    rows = flat[top].sum(0).clip(min=0).sum(1)
    rows[classifier] = 0
    return int(rows.argmax()) if rows.any() else classifier


def side_of(site: SiteLike) -> str:
    """Return the token sequence that the queries of a site belong to."""
    return "encoder" if site.attention_type == "encoder" else "decoder"


def is_last(site: SiteLike, sites: Sequence[SiteLike]) -> bool:
    """Tell whether a site is in the last layer, which has two if it has cross-attention."""
    return (site.layer, side_of(site)) == (sites[-1].layer, side_of(sites[-1]))


def _rounded(values: Any) -> NDArray[np.float64]:
    """Round to five significant digits."""
    exact = np.asarray(values, dtype=np.float64)
    magnitude = np.floor(np.log10(np.abs(exact), where=exact != 0, out=np.zeros_like(exact)))
    # An integer over a power of ten is the double nearest to the decimal number.
    scale = 10.0 ** np.minimum(4 - magnitude, 300)
    rounded: NDArray[np.float64] = np.round(exact * scale) / scale
    return rounded
