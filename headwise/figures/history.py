"""Numbers over time, in equal steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from headwise.figures.encoding import WIDTH, Measure, dashed, quantity, series, tooltip
from headwise.figures.figure import Source, caption
from headwise.figures.vega import VegaFigure

QUEUE = "queue"


def history(
    rows: Sequence[Mapping[str, Any]],
    measure: Measure,
    step: int,
    sources: Sequence[Source] = (),
) -> VegaFigure:
    """A measure in equal steps of time, as a line of stairs with a gap where nothing is known.

    rows: of each step its beginning `at`, seconds since 1970, and the measure, ascending; those of
        several queues have their `queue`. Steps that are missing are gaps
    step: seconds
    """
    known = [row for row in rows if row[measure.name] is not None]
    queues = [row[QUEUE] for row in known if QUEUE in row]
    columns = (*([QUEUE] if queues else []), "at", measure.name)
    shown: list[dict[str, Any]] = [
        {**row, "at": datetime.fromtimestamp(row["at"], UTC).isoformat()} for row in known
    ]
    stairs = {"type": "line", "interpolate": "step-after"}
    area = {"type": "area", "interpolate": "step-after", "opacity": 0.25}
    chart = {
        "width": WIDTH,
        "height": 160,
        "transform": _stairs(measure.name, step, queues),
        "encoding": {"x": _WHEN, "y": quantity(measure, zero=True), **_lines(queues)},
        "layer": [
            *([] if queues else [{"mark": area}]),
            {
                "mark": stairs,
                "encoding": {
                    "tooltip": [
                        *tooltip(*([(QUEUE, "Queue")] if queues else [])),
                        {"field": "at", "title": "From", "type": "temporal", "timeUnit": _MINUTES},
                        *tooltip((measure.name, measure.axis, measure.format)),
                    ]
                },
            },
        ],
    }
    most = max((row[measure.name] for row in known), default=None)
    largest = "" if most is None else f" The largest value is {most:.3g}."
    title = f"{measure.title} over time{', by queue' if queues else ''}"
    note = f"Steps of {step / 60:g} min; a gap is a time without a sample."
    return VegaFigure(
        title=title,
        description=f"{measure.axis}, in {len(known):,} steps of time.{largest}",
        chart=chart,
        columns=columns,
        rows=[{name: row[name] for name in columns} for row in shown],
        caption=caption(title, note, sources),
    )


_MIDNIGHT = "utchours(datum.value) === 0 && utcminutes(datum.value) === 0"
_MINUTES = "utcyearmonthdatehoursminutes"
_WHEN = {
    "field": "when",
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


def _stairs(name: str, step: int, queues: Sequence[str]) -> list[dict[str, Any]]:
    """Give each sample the points of its stair: its beginning, and its end where none follows.

    The end stands twice, the second time without a value, which ends the line.
    """
    ends = f"time(datum.at) + {step * 1000}"
    last = f"[time(datum.at), datum[{name!r}]], [{ends}, datum[{name!r}]], [{ends}, null]"
    follows = f"datum.next && time(datum.next) <= {ends}"
    apart = {"groupby": [QUEUE]} if queues else {}
    return [
        {"window": [{"op": "lead", "field": "at", "as": "next"}], **apart},
        {
            "calculate": f"{follows} ? [[time(datum.at), datum[{name!r}]]] : [{last}]",
            "as": "points",
        },
        {"flatten": ["points"], "as": ["point"]},
        {"calculate": "datum.point[0]", "as": "when"},
        {"calculate": "datum.point[1]", "as": name},
    ]


def _lines(queues: Sequence[str]) -> dict[str, Any]:
    """A colour and a dash for each queue; nothing for a single line."""
    if not queues:
        return {}
    named = series(QUEUE, "Queue", queues)
    return {"color": named, "strokeDash": dashed(named)}
