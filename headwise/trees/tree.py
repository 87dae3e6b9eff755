"""An attribution tree: its nodes, as JSON and as SVG."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from headwise.figures.sentence import SentenceFigure, tree
from headwise.trees.nodes import Node, children

RULES = {
    "outgoing": "the token with the most outgoing attribution; the last layer is left out",
    "classifier": "the token that the classifier reads",
}
"""Rules that choose a root, with the token that each chooses. In the last layer the classifier's
token reads nearly every other one: from there a tree is a star."""
ROOT = "outgoing"
"""The rule that is used wherever none is asked for, that of the paper's code."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """An attribution tree, as made by ``headwise.trees.build``.

    root: the rule or position that chose the root
    tau, tau_last: thresholds of the edges
    nodes: in the order in which they joined the tree, the root first
    """

    root: str | int
    tau: float
    tau_last: float
    nodes: tuple[Node, ...]

    def children(self, parent: int) -> list[int]:
        """Return the indices of a node's children, by position."""
        return children(self.nodes, parent)

    @property
    def rule(self) -> str:
        """The root in words: the token that a rule chose, or one chosen by its position."""
        return RULES.get(str(self.root), "a token chosen by its position")

    def edges(self) -> list[tuple[int, int, int]]:
        """Return (site, query, key) of every edge."""
        return [
            (node.site, self.nodes[node.parent].position, node.position)
            for node in self.nodes
            if node.parent is not None and node.site is not None
        ]

    def to_json(self) -> str:
        """Return the fields of the tree and of its nodes as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, stored: str) -> Tree:
        """Read what ``to_json`` wrote."""
        values: dict[str, Any] = json.loads(stored)
        return cls(nodes=tuple(Node.from_json(node) for node in values.pop("nodes")), **values)

    def figure(self) -> SentenceFigure:
        """Return the tree as a figure, with the root at the left."""
        return tree(self)

    def to_svg(self) -> str:
        """Draw the tree; see ``figure``."""
        return self.figure().svg()

    def _repr_svg_(self) -> str:
        return self.to_svg()
