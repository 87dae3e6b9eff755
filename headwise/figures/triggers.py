"""Effects of triggers on the predictions of a class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from headwise.figures.encoding import (
    WIDTH,
    Measure,
    ends,
    in_panels,
    quantity,
    series,
    tooltip,
)
from headwise.figures.figure import Source, caption
from headwise.figures.vega import VegaFigure

SUCCESS = Measure(
    name="success",
    title="Success",
    meaning="share of correctly predicted texts whose prediction becomes wrong",
    share=True,
)


def trigger_results(
    rows: Sequence[Mapping[str, Any]], label: str, sources: Sequence[Source] = ()
) -> VegaFigure:
    """The success of triggers against one class, all on one scale from 0 to 100 %.

    rows: of each trigger, best first, its `number`, `trigger` (its words), `kind`, `success`, the
        ends of its interval (`success_low`, `success_high`), `n`, the number of texts, and where
        known `accuracy_before` and `accuracy_after`
    label: the class
    """
    low, high = ends(SUCCESS.name)
    columns = (
        *("number", "trigger", "kind", "n", "accuracy_before", "accuracy_after"),
        *(SUCCESS.name, low, high),
    )
    shown: list[dict[str, Any]] = [{name: row.get(name) for name in columns} for row in rows]
    across = {
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"format": "~%", "title": f"{SUCCESS.title}: {SUCCESS.meaning}"},
    }
    named = series("kind", "Kind", [row["kind"] for row in shown])
    names = json.dumps({str(row["number"]): row["trigger"] for row in shown})
    chart = {
        "width": WIDTH,
        "height": {"step": 20},
        "encoding": {
            "y": {
                "field": "number",
                "type": "ordinal",
                "sort": [row["number"] for row in shown],
                # Two triggers may have the same words.
                "axis": {"title": "Trigger", "labelExpr": f"{names}[datum.value]"},
            }
        },
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.7}},
                "encoding": {
                    "x": {**across, "field": SUCCESS.name},
                    "color": named,
                    "tooltip": tooltip(
                        ("trigger", "Trigger"),
                        ("kind", "Kind"),
                        (SUCCESS.name, SUCCESS.title, SUCCESS.format),
                        (low, "95 % from", SUCCESS.format),
                        (high, "95 % to", SUCCESS.format),
                        ("n", "Texts", ",d"),
                    ),
                },
            },
            {
                "mark": {"type": "rule", "style": "interval"},
                "encoding": {"x": {**across, "field": low}, "x2": {"field": high}},
            },
        ],
    }
    best = shown[0] if shown else None
    title = f"Triggers against {label}"
    return VegaFigure(
        title=title,
        description=f"Success of {len(shown)} triggers against {label}."
        + (f" The first is {best['trigger']}." if best else ""),
        chart=chart,
        columns=columns,
        rows=shown,
        caption=caption(title, "Lines are 95 % intervals over the texts.", sources),
    )


def triggers_of_jobs(
    rows: Sequence[Mapping[str, Any]], label: str, sources: Sequence[Source] = ()
) -> VegaFigure:
    """The success of the triggers of several jobs against one class, a panel for each kind.

    rows: of each trigger its `job`, `trigger`, `kind`, `success`, the ends of its interval and `n`
        as in `trigger_results`
    label: the class
    """
    low, high = ends(SUCCESS.name)
    columns = ("job", "kind", "trigger", SUCCESS.name, low, high, "n")
    shown: list[dict[str, Any]] = [{name: row.get(name) for name in columns} for row in rows]
    across = quantity(SUCCESS, domain=[0, 1])
    across["axis"]["title"] = f"{SUCCESS.title}: {SUCCESS.meaning}"
    jobs = list(dict.fromkeys(row["job"] for row in shown))
    named = tooltip(
        ("job", "Job"),
        ("trigger", "Trigger"),
        (SUCCESS.name, SUCCESS.title, SUCCESS.format),
        (low, "95 % from", SUCCESS.format),
        (high, "95 % to", SUCCESS.format),
        ("n", "Texts", ",d"),
    )
    mean = {**across, "aggregate": "mean"}
    axis = {"title": None, "grid": True, "labelLimit": 260}
    chart = {
        "width": WIDTH,
        "height": {"step": 32},
        "encoding": {
            "y": {
                "field": "job",
                "type": "nominal",
                "sort": jobs,
                "axis": axis,
            },
        },
        "layer": [
            {
                "mark": {"type": "point", "filled": True, "opacity": 0.6, "size": 60},
                "encoding": {"x": across, "tooltip": named},
            },
            {
                "mark": {"type": "tick", "style": "interval", "thickness": 3, "size": 24},
                "encoding": {"x": mean},
            },
        ],
    }
    title = f"Triggers against {label} by job"
    return VegaFigure(
        title=title,
        description=f"Success of {len(shown)} triggers against {label}, of {len(jobs)} jobs.",
        chart=in_panels(chart, "kind", [row["kind"] for row in shown], across=1),
        columns=columns,
        rows=shown,
        caption=caption(title, "Points are triggers, strokes the means of a job.", sources),
    )
