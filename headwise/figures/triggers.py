"""Effects of triggers on the predictions of a class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from headwise.figures.encoding import WIDTH, Measure, ends, series, tooltip
from headwise.figures.figure import Figure, Source, caption

SUCCESS = Measure(
    name="success",
    title="Success",
    meaning="share of correctly predicted texts whose prediction becomes wrong",
    share=True,
)


def trigger_results(
    rows: Sequence[Mapping[str, Any]], label: str, sources: Sequence[Source] = ()
) -> Figure:
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
    return Figure(
        title=title,
        description=f"Success of {len(shown)} triggers against {label}."
        + (f" The first is {best['trigger']}." if best else ""),
        chart=chart,
        columns=columns,
        rows=shown,
        caption=caption(title, "Lines are 95 % intervals over the texts.", sources),
    )
