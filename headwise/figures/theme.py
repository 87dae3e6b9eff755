"""The look of every figure, as a Vega-Lite configuration."""

from __future__ import annotations

from typing import Any

from headwise.figures.palette import Palette

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The same widths of letters everywhere: the renderer has the first one built in."""
DASHES = (
    *([1, 0], [6, 3], [2, 3], [8, 3, 2, 3]),
    *([12, 4], [4, 1.5], [10, 3, 2, 3, 2, 3], [1, 2]),
)
SHAPES = (
    *("circle", "square", "diamond", "triangle-up", "triangle-down", "cross"),
    *("triangle-left", "triangle-right"),
)
_NUMBERS = {
    "decimal": ".",
    "thousands": ",",
    "grouping": [3],
    "currency": ["", ""],
    "percent": "\u202f%",
}


def config(palette: Palette) -> dict[str, Any]:
    """The configuration with these colours. Specifications themselves name no colour."""
    grey = {"labelColor": palette.muted, "titleColor": palette.text}
    size = {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal"}
    return {
        "background": palette.surface,
        "font": FONT,
        "padding": 8,
        "locale": {"number": _NUMBERS},
        "view": {"stroke": None},
        "axis": {
            **grey,
            **size,
            "labelLimit": 260,
            "titleLimit": 700,
            "domainColor": palette.line,
            "tickColor": palette.line,
            "gridColor": palette.line,
        },
        "axisBand": {"grid": False, "ticks": False, "domain": False},
        "legend": {
            **grey,
            **size,
            "labelLimit": 360,
            "titleLimit": 360,
            "gradientThickness": 12,
            "symbolStrokeWidth": 2,
        },
        "header": {"labelColor": palette.text, "titleColor": palette.text},
        "title": {"color": palette.text, "subtitleColor": palette.muted, "anchor": "start"},
        "text": {"color": palette.text, "fontSize": 11},
        "rect": {"cornerRadius": 1.5},
        "bar": {"color": palette.categories[0]},
        "point": {"color": palette.categories[0], "size": 44},
        "line": {"color": palette.categories[0], "strokeWidth": 1.8},
        "area": {"color": palette.categories[0]},
        "style": {
            "square": {"stroke": palette.text},
            "quiet": {"color": palette.muted},
            "interval": {"color": palette.text, "strokeWidth": 1.2},
        },
        "range": {
            "category": list(palette.categories),
            "diverging": list(palette.diverging),
            "heatmap": list(palette.sequential),
            "ramp": list(palette.sequential),
            "symbol": list(SHAPES),
        },
    }
