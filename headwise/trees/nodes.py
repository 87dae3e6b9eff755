"""The nodes of an attribution tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Node:
    """A token of a tree and the edge to its parent; the root has no edge.

    side: ``encoder`` or ``decoder``, the token sequence it belongs to
    parent: index of the node that reads the token, None for the root, as all that follow
    site: index of the site of the edge; layer, attention_type: of that site
    value: Attr of the edge, summed over heads
    share: ``value`` relative to the maximum of the site
    """

    token: str
    position: int
    side: str
    parent: int | None = None
    site: int | None = None
    layer: int | None = None
    attention_type: str | None = None
    value: float | None = None
    share: float | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Node:
        """Make a node from its fields; files of version 0.1 have ``kind`` for its type."""
        return cls(**{"attention_type" if n == "kind" else n: v for n, v in values.items()})


def children(nodes: Sequence[Node], parent: int) -> list[int]:
    """Return the indices of a node's children, by position."""
    found = [i for i, node in enumerate(nodes) if node.parent == parent]
    return sorted(found, key=lambda i: (nodes[i].side, nodes[i].position))
