"""A number over time, in equal steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from headwise.figures.encoding import WIDTH, Measure, quantity, tooltip
from headwise.figures.figure import Source, caption
from headwise.figures.vega import VegaFigure


def history(
    rows: Sequence[Mapping[str, Any]],
    measure: Measure,
    step: int,
    sources: Sequence[Source] = (),
) -> VegaFigure:
    """A measure in equal steps of time, as a line of stairs with a gap where nothing is known.

    rows: of each step its beginning `at`, seconds since 1970, and the measure, ascending; steps
        that are missing are gaps
    step: seconds
    """
    columns = ("at", measure.name)
    steps = _whole(rows, measure.name, step)
    shown: list[dict[str, Any]] = [
        {"at": datetime.fromtimestamp(at, UTC).isoformat(), measure.name: value}
        for at, value in steps
    ]
    when = {
        "field": "at",
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {
            "title": "Time, UTC",
            "grid": False,
            "labelOverlap": True,
            "labelSeparation": 8,
            "tickCount": 6,
            "labelExpr": f"utcFormat(datum.value, {_MIDNIGHT} ? '%b %d' : '%H:%M')",
        },
    }
    chart = {
        "width": WIDTH,
        "height": 160,
        "encoding": {"x": when, "y": quantity(measure, zero=True)},
        "layer": [
            {"mark": {"type": "area", "interpolate": "step-after", "opacity": 0.25}},
            {
                "mark": {"type": "line", "interpolate": "step-after"},
                "encoding": {
                    "tooltip": [
                        {"field": "at", "title": "From", "type": "temporal", "timeUnit": _MINUTES},
                        *tooltip((measure.name, measure.axis, measure.format)),
                    ]
                },
            },
        ],
    }
    known = [row[measure.name] for row in rows if row[measure.name] is not None]
    most = f" The largest value is {max(known):.3g}." if known else ""
    title = f"{measure.title} over time"
    note = f"Steps of {step / 60:g} min; a gap is a time without a sample."
    return VegaFigure(
        title=title,
        description=f"{measure.axis}, in {len(known):,} steps of time.{most}",
        chart=chart,
        columns=columns,
        rows=shown,
        caption=caption(title, note, sources),
    )


_MIDNIGHT = "utchours(datum.value) === 0 && utcminutes(datum.value) === 0"
_MINUTES = "utcyearmonthdatehoursminutes"


def _whole(
    rows: Sequence[Mapping[str, Any]], name: str, step: int
) -> list[tuple[float, float | None]]:
    """Every step with its value: where one is missing an empty one ends the line, and the last one
    lasts until its end."""
    found: list[tuple[float, float | None]] = []
    for row in rows:
        at = float(row["at"])
        if found and at > found[-1][0] + step:
            end = found[-1][0] + step
            found += [(end, found[-1][1]), (end, None)]
        found.append((at, row[name]))
    if found:
        found.append((found[-1][0] + step, found[-1][1]))
    return found
