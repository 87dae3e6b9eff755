"""One number of several jobs side by side, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwise.figures.encoding import WIDTH, Measure, ends, quantity, tooltip
from headwise.figures.figure import Source, caption
from headwise.figures.vega import VegaFigure


def qualities(
    rows: Sequence[Mapping[str, Any]], measure: Measure, sources: Sequence[Source] = ()
) -> VegaFigure:
    """A measure of several jobs as points with their intervals, on one axis.

    rows: of each job its name `job`, the measure, the ends of its interval (`accuracy_low` and
        `accuracy_high`) and `n`, the number of examples
    """
    low, high = ends(measure.name)
    columns = ("job", measure.name, low, high, "n")
    shown: list[dict[str, Any]] = [{name: row.get(name) for name in columns} for row in rows]
    across = quantity(measure)
    across["axis"]["tickCount"] = 6
    span = {"x": {"field": low, "type": "quantitative"}, "x2": {"field": high}}
    named = tooltip(
        ("job", "Job"),
        (measure.name, measure.title, measure.format),
        (low, "95 % from", measure.format),
        (high, "95 % to", measure.format),
        ("n", "Examples", ",d"),
    )
    chart = {
        "width": WIDTH,
        "height": {"step": 32},
        "encoding": {
            "x": across,
            "y": {
                "field": "job",
                "type": "nominal",
                "sort": [row["job"] for row in shown],
                "axis": {"title": None, "grid": True},
            },
        },
        "layer": [
            {"mark": {"type": "rule", "style": "interval"}, "encoding": span},
            {
                "mark": {"type": "point", "filled": True, "opacity": 1, "size": 70},
                "encoding": {"tooltip": named},
            },
        ],
    }
    title = f"{measure.title} by job"
    return VegaFigure(
        title=title,
        description=f"{measure.title} of {len(shown)} jobs with 95 % intervals.",
        chart=chart,
        columns=columns,
        rows=shown,
        caption=caption(title, "Lines are 95 % intervals over the examples.", sources),
    )
