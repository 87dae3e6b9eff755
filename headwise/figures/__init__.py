"""Figures: one definition of each for dashboard, notebook, command line and report.

Each function makes a `Figure` of plain rows: a picture, the table of its numbers and a caption. A
chart is a Vega-Lite specification; the figures of one example, in `sentence`, are SVG of our own.
Colours are in `palette`. Needs neither torch nor a plotting library; PNG, PDF and pictures of
charts are drawn by vl-convert (extra `figures`).
"""

from headwise.figures.completeness import completeness
from headwise.figures.curves import ORDERS, curves_of_jobs, pruning_curves
from headwise.figures.encoding import Measure
from headwise.figures.figure import FORMS, Figure, Source
from headwise.figures.heads import heat_map, histogram
from headwise.figures.history import history
from headwise.figures.matrix import head_matrix
from headwise.figures.qualities import qualities
from headwise.figures.rankings import bump, scatter
from headwise.figures.tables import CHARTS, Chart, Table, draw_table, propose
from headwise.figures.triggers import trigger_results, triggers_of_jobs
from headwise.figures.vega import VegaFigure

__all__ = [
    "CHARTS",
    "FORMS",
    "ORDERS",
    "Chart",
    "Figure",
    "Measure",
    "Source",
    "Table",
    "VegaFigure",
    "bump",
    "completeness",
    "curves_of_jobs",
    "draw_table",
    "head_matrix",
    "heat_map",
    "histogram",
    "history",
    "propose",
    "pruning_curves",
    "qualities",
    "scatter",
    "trigger_results",
    "triggers_of_jobs",
]
