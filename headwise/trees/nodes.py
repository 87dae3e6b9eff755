"""The nodes of an attribution tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Node:
    """A token of a tree and the edge to its parent; the root has no edge.

    side: ``encoder`` or ``decoder``, the token sequence it belongs to
    parent: index of the node that reads the token, None for the root, as all that follow
    site: index of the site of the edge; layer, kind: of that site
    value: Attr of the edge, summed over heads
    share: ``value`` relative to the maximum of the site
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


def children(nodes: Sequence[Node], parent: int) -> list[int]:
    """Return the indices of a node's children, by position."""
    found = [i for i, node in enumerate(nodes) if node.parent == parent]
    return sorted(found, key=lambda i: (nodes[i].side, nodes[i].position))
