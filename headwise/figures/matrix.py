"""A head on one text: attention beside attribution, the figure of Hao et al. (AAAI 2021)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from headwise.figures.encoding import NUMBER, Measure, tooltip
from headwise.figures.figure import Source, caption
from headwise.figures.heads import colours
from headwise.figures.vega import VegaFigure

_CELL, _LARGEST = 18, 420
"""Pixels of a cell, and of the cells of one map together."""
ATTENTION = Measure(name="attention", title="Attention", unit="probability")


def head_matrix(
    attention: Sequence[Sequence[float]],
    attribution: Sequence[Sequence[float]],
    tokens: Sequence[str],
    name: str,
    sources: Sequence[Source] = (),
    *,
    unit: str = "",
) -> VegaFigure:
    """Two heat maps of one head, by query token and key token.

    attention, attribution: [n, n]; rows are queries
    tokens: the n tokens
    name: of the head, and where that matters of the text: "L3 H7 on example 4"
    unit: of the attribution, which is that of the output it explains
    """
    rows: list[dict[str, Any]] = [
        {
            "query": query,
            "key": key,
            "query_token": tokens[query],
            "key_token": tokens[key],
            "attention": _short(attention[query][key]),
            "attribution": _short(attribution[query][key]),
        }
        for query in range(len(tokens))
        for key in range(len(tokens))
    ]
    best = max(rows, key=lambda row: row["attribution"])
    title = f"Attention and attribution of {name}"
    shown = (ATTENTION, Measure(name="attribution", title="Attribution", unit=unit))
    return VegaFigure(
        title=title,
        description=f"Two heat maps of {len(tokens)} by {len(tokens)} tokens: what each token "
        f"attends to, and what that adds to the output. The largest attribution, "
        f"{best['attribution']:.3g}, is {best['query_token']} reading {best['key_token']}.",
        chart={
            "params": [{"name": "at_query", "value": -1}, {"name": "at_key", "value": -1}],
            "hconcat": [_map(measure, rows, tokens) for measure in shown],
            "resolve": {"scale": {"color": "independent"}},
            "spacing": 28,
        },
        columns=("query", "query_token", "key", "key_token", "attention", "attribution"),
        rows=rows,
        caption=caption(
            title,
            "Rows read columns. Left: attention probability. Right: what the cell adds to the "
            "output; orange raises it and blue lowers it.",
            sources,
        ),
    )


def _short(value: float) -> float:
    """Six digits, what single precision has."""
    return float(f"{value:.6g}")


def _map(measure: Measure, rows: Sequence[dict[str, Any]], tokens: Sequence[str]) -> dict[str, Any]:
    step = min(_CELL, round(_LARGEST / len(tokens), 2))
    # Tokens repeat, so that the axis is by position and its labels are looked up.
    axis = {
        "labelExpr": f"{json.dumps(list(tokens))}[datum.value]",
        "labelOverlap": True,
        "labelLimit": 90,
    }
    here = "datum.query === at_query && datum.key === at_key"
    return {
        "title": measure.title,
        "width": {"step": step},
        "height": {"step": step},
        "mark": {"type": "rect", "style": "square", "cornerRadius": 0, "aria": False},
        "encoding": {
            "x": {
                "field": "key",
                "type": "ordinal",
                "axis": {**axis, "title": "Token that is read (key)", "labelAngle": -90},
            },
            "y": {
                "field": "query",
                "type": "ordinal",
                "axis": {**axis, "title": "Token that reads (query)"},
            },
            "color": {
                "field": measure.name,
                "type": "quantitative",
                "scale": colours([row[measure.name] for row in rows]),
                "legend": {
                    "title": measure.axis,
                    "format": NUMBER,
                    "tickCount": 3,
                    "orient": "bottom",
                    "direction": "horizontal",
                    "gradientLength": 160,
                },
            },
            "strokeWidth": {"condition": {"test": here, "value": 2}, "value": 0},
            "tooltip": tooltip(
                ("query_token", "Query"),
                ("key_token", "Key"),
                ("attention", "Attention", NUMBER),
                ("attribution", "Attribution", NUMBER),
            ),
        },
    }
