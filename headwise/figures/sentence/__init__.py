"""Figures of one example: its words, its strongest pairs as arcs, and its attribution tree.

They are SVG of our own, made from plain values: the picture in a file, in a notebook and on a page
is the same. A page's style sheet may give the classes other colours; without one they are light.
"""

from headwise.figures.sentence.arcs import Pair, arcs
from headwise.figures.sentence.figure import SentenceFigure
from headwise.figures.sentence.tree import describe_node, tree
from headwise.figures.sentence.words import ALL_LAYERS, underlined, words

KINDS = ("words", "arcs", "tree")
"""The names of the figures of an example."""

__all__ = [
    "ALL_LAYERS",
    "KINDS",
    "Pair",
    "SentenceFigure",
    "arcs",
    "describe_node",
    "tree",
    "underlined",
    "words",
]
