"""The attribution tree of one example.

Hao, Dong, Wei, Xu, "Self-Attention Attribution", AAAI 2021, Algorithm 1: a greedy way to the edges
that hold much attribution and are few. Attr is summed over the heads of each layer; cells above tau
times the layer's maximum are edges, from the token that reads to the token that is read. From the
last layer down, a token joins the tree at the first layer in which a token of the tree reads it.

Where several tokens of the tree read it in that layer, which the paper leaves to the order in which
edges are listed, the strongest edge counts, and among equal ones the token that joined first. A
token that has joined in a layer reads in the layers below only: its information comes from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headwise.trees.picture import draw

RULES = ("classifier", "outgoing")
FLOOR = 0.2
"""Share of a layer's maximum below which ``interactions`` keeps no cell."""
MOST = 4
"""Cells that ``interactions`` keeps of a site, per token, besides the classifier's token's."""
TAU, TAU_LAST = 0.4, 0.0
"""The paper's thresholds: of all layers but the last, and of the last one."""


class Place(Protocol):
    """What has to be known of a site."""

    @property
    def layer(self) -> int: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class SiteCells:
    """The strongest cells of one site, Attr summed over its heads.

    largest: the site's largest cell; largest_other: the same without the row of the token that
    the classifier reads; cells: (query, key, value), strongest first, without (i, i) of
    self-attention
    """

    largest: float
    largest_other: float
    cells: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """What a tree needs to know of one example; everything is JSON.

    length: number of tokens
    classifier: the token that the classifier reads
    outgoing: the other token from which most attribution goes out, over all layers
    floor: share of a site's maximum from which on its cells are kept; all positive ones in the
        last layer
    sites: in order of evaluation
    """

    length: int
    classifier: int
    outgoing: int
    floor: float
    sites: tuple[SiteCells, ...]

    def to_json(self) -> str:
        """Compact JSON, see ``from_json``."""
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


@dataclass(frozen=True, kw_only=True)
class Node:
    """A token of a tree and the edge to its parent.

    side: ``encoder`` or ``decoder``: to which token sequence it belongs
    parent: index of the node that reads it; None for the root, as are the following
    site: index of the site where it does, with layer and kind
    value: Attr there, summed over heads; share: the same of the site's maximum
    """

    token: str
    position: int
    side: str
    parent: int | None = None
    site: int | None = None
    layer: int | None = None
    kind: str | None = None
    value: float | None = None
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Tree:
    """An attribution tree: its nodes in the order in which they joined, the root first.

    root: one of RULES, or a position; tau, tau_last: the thresholds
    """

    root: str | int
    tau: float
    tau_last: float
    nodes: tuple[Node, ...]

    def children(self, parent: int) -> list[int]:
        """Indices of a node's children, by position."""
        found = [i for i, node in enumerate(self.nodes) if node.parent == parent]
        return sorted(found, key=lambda i: (self.nodes[i].side, self.nodes[i].position))

    def edges(self) -> list[tuple[int, int, int]]:
        """(site, query, key) of every edge."""
        return [
            (node.site, self.nodes[node.parent].position, node.position)
            for node in self.nodes
            if node.parent is not None and node.site is not None
        ]

    def to_json(self) -> str:
        """The fields of the tree and of its nodes as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, stored: str) -> Tree:
        """Read what ``to_json`` wrote."""
        values: dict[str, Any] = json.loads(stored)
        return cls(nodes=tuple(Node(**node) for node in values.pop("nodes")), **values)

    def to_svg(self) -> str:
        """A picture, root at the left; see ``headwise.trees.picture``."""
        return draw(self)

    def _repr_svg_(self) -> str:
        return self.to_svg()


def interactions(
    summed: NDArray[np.floating], sites: Sequence[Place], floor: float = FLOOR
) -> Interactions:
    """The strongest cells of an example's attribution.

    summed: Attr summed over heads, [S, n, n], rows are queries
    floor: keep cells above this share of their site's maximum; of the last layer all positive
        ones; of each site the MOST * n strongest, and all of the token that the classifier reads;
        with five significant digits
    """
    values = np.nan_to_num(summed)
    length = values.shape[-1]
    reading = np.abs(values[-1]).sum(1)
    classifier = int(reading.argmax())
    flat = values.copy()
    for matrix, site in zip(flat, sites, strict=True):
        if site.kind != "cross":
            np.fill_diagonal(matrix, 0)
    return Interactions(
        length=length,
        classifier=classifier,
        outgoing=_outgoing(flat, sites, classifier),
        floor=floor,
        sites=tuple(
            _site(values[s], flat[s], classifier, 0 if _is_last(site, sites) else floor)
            for s, site in enumerate(sites)
        ),
    )


def build(
    found: Interactions,
    sites: Sequence[Place],
    tokens: Sequence[str],
    *,
    root: str | int = RULES[0],
    tau: float = TAU,
    tau_last: float = TAU_LAST,
) -> Tree:
    """Algorithm 1, down all sites of any kind.

    In an encoder-decoder model the root is a token of the decoder, cross-attention leads to the
    encoder's tokens, and a token may join once on either side.

    root: ``classifier``, the token that the classifier reads, [CLS] in the paper; ``outgoing``,
        the rule of the paper's code: the token with the most outgoing attribution, the last layer
        left out, and no edge from the classifier's token; or a position
    tau, tau_last: edges are cells above this share of their site's maximum, in the last layer
        tau_last

    Raises ValueError for a root that there is not, or a threshold below what was kept.
    """
    check(found, root, tau, tau_last)
    position = root if isinstance(root, int) else getattr(found, root)
    side = _side(sites[-1])
    nodes = [Node(token=tokens[position], position=position, side=side)]
    joined = {(side, position): 0}
    for s in reversed(range(len(sites))):
        cells, last = found.sites[s], _is_last(sites[s], sites)
        if root == "outgoing" and last:
            continue
        largest = cells.largest_other if root == "outgoing" else cells.largest
        hidden = found.classifier if root == "outgoing" else None
        threshold = (tau_last if last else tau) * largest
        edges = _joining(sites[s], cells, joined, threshold, hidden)
        for (key_side, key), (value, parent) in edges:
            joined[key_side, key] = len(nodes)
            nodes.append(
                Node(
                    token=tokens[key],
                    position=key,
                    side=key_side,
                    parent=parent,
                    site=s,
                    layer=sites[s].layer,
                    kind=sites[s].kind,
                    value=value,
                    share=value / largest,
                )
            )
    return Tree(root=root, tau=tau, tau_last=tau_last, nodes=tuple(nodes))


def check(found: Interactions, root: str | int, tau: float, tau_last: float) -> None:
    """Raises ValueError as ``build`` does."""
    if isinstance(root, int):
        if not 0 <= root < found.length:
            raise ValueError(f"root {root} is no position of a text of {found.length} tokens")
    elif root not in RULES:
        raise ValueError(f"root {root!r} is unknown; use {', '.join(RULES)} or a position")
    if not found.floor <= tau <= 1:
        raise ValueError(
            f"tau must be from {found.floor:g}, which is what was kept, to 1, not {tau}"
        )
    if not 0 <= tau_last <= 1:
        raise ValueError(f"tau_last must be from 0 to 1, not {tau_last}")


def _joining(
    site: Place,
    cells: SiteCells,
    joined: Mapping[tuple[str, int], int],
    threshold: float,
    hidden: int | None,
) -> list[tuple[tuple[str, int], tuple[float, int]]]:
    """Who joins at a site, by parent and position: (side, key) with (value, parent)."""
    key_side = "decoder" if site.kind == "decoder" else "encoder"
    best: dict[tuple[str, int], tuple[float, int]] = {}
    for query, key, value in cells.cells:
        parent, child = joined.get((_side(site), query)), (key_side, key)
        if parent is None or query == hidden or child in joined or not value > threshold:
            continue
        known = best.get(child)
        if known is None or (-value, parent) < (-known[0], known[1]):
            best[child] = (value, parent)
    return sorted(best.items(), key=lambda item: (item[1][1], item[0][1]))


def _site(
    values: NDArray[np.floating], flat: NDArray[np.floating], classifier: int, floor: float
) -> SiteCells:
    length, width = values.shape
    rows = values.max(1)
    others = np.delete(rows, classifier)
    largest, other = (float(_rounded(top)) for top in (rows.max(), others.max(initial=0)))
    tops = [top for top in (largest, other) if top > 0]
    cells = np.flatnonzero(flat > floor * min(tops, default=0))
    cells = cells[np.argsort(-flat.ravel()[cells], kind="stable")]
    # All that the classifier's token reads: in the last layer, other tokens may not push it out.
    cells = cells[(np.arange(len(cells)) < MOST * length) | (cells // width == classifier)]
    queries, keys = np.divmod(cells, width)
    columns = (queries, keys, _rounded(flat.ravel()[cells]))
    kept = tuple(zip(*(column.tolist() for column in columns), strict=True))
    return SiteCells(largest=largest, largest_other=other, cells=kept)


def _outgoing(flat: NDArray[np.floating], sites: Sequence[Place], classifier: int) -> int:
    """The official code's top: rows of the sum over layers, positive cells off the diagonal."""
    top = [s for s, site in enumerate(sites) if _side(site) == _side(sites[-1])]
    rows = flat[top].sum(0).clip(min=0).sum(1)
    rows[classifier] = 0
    return int(rows.argmax()) if rows.any() else classifier


def _side(site: Place) -> str:
    """To which sequence the queries of a site belong."""
    return "encoder" if site.kind == "encoder" else "decoder"


def _is_last(site: Place, sites: Sequence[Place]) -> bool:
    """Whether a site is of the last layer, which has two where it has cross-attention."""
    return (site.layer, _side(site)) == (sites[-1].layer, _side(sites[-1]))


def _rounded(values: Any) -> NDArray[np.float64]:
    """Five significant digits."""
    exact = np.asarray(values, dtype=np.float64)
    magnitude = np.floor(np.log10(np.abs(exact), where=exact != 0, out=np.zeros_like(exact)))
    # Whole numbers over a power of ten: the double that is nearest to the decimal number.
    scale = 10.0 ** np.minimum(4 - magnitude, 300)
    rounded: NDArray[np.float64] = np.round(exact * scale) / scale
    return rounded
