"""Attribution trees: built from numbers, drawn as SVG. No torch, nothing of the other packages."""

from headwise.trees.build import RULES, Interactions, Node, SiteCells, Tree, build, interactions

__all__ = ["RULES", "Interactions", "Node", "SiteCells", "Tree", "build", "interactions"]
