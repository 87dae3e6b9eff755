"""Attribution trees, built from arrays and drawn as SVG; NumPy alone, without torch."""

from headwise.trees.build import TAU, TAU_LAST, build
from headwise.trees.cells import FLOOR, Interactions, SiteCells
from headwise.trees.nodes import Node
from headwise.trees.tree import ROOT, RULES, Tree

__all__ = [
    "FLOOR",
    "ROOT",
    "RULES",
    "TAU",
    "TAU_LAST",
    "Interactions",
    "Node",
    "SiteCells",
    "Tree",
    "build",
]
