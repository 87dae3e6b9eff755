"""The strongest cells of one example's attribution, from which its tree is built.

``headwise.attribution.cells`` selects them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

FLOOR = 0.2
"""Cells below this share of the largest cell of their site are not kept."""
MAX_CELLS = 4
"""Cells per site and token that are kept, besides those of the classifier token."""


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


def side_of(site: SiteLike) -> str:
    """Return the token sequence that the queries of a site belong to."""
    return "encoder" if site.attention_type == "encoder" else "decoder"


def is_last(site: SiteLike, sites: Sequence[SiteLike]) -> bool:
    """Tell whether a site is in the last layer, which has two if it has cross-attention."""
    return (site.layer, side_of(site)) == (sites[-1].layer, side_of(sites[-1]))
