"""Charts of any table, such as the result of a query: lines, bars, points, a heat map of heads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwise.figures.encoding import NUMBER, WIDTH, Measure, quantity, series, tooltip
from headwise.figures.figure import Source, caption
from headwise.figures.heads import heat_map
from headwise.figures.vega import VegaFigure

CHARTS = {"heads": "Heat map of heads", "line": "Line", "bars": "Bars", "points": "Points"}
"""The charts of a table, with their titles."""
MOST_SERIES = 12
"""Colours that can be told apart; a column with more values is not proposed for them."""
_NUMBERS = ("integer", "real")
_STEPS = frozenset(("share", "removed", "layer", "step", "starts_at", "day", "hour"))
"""Columns of numbers that lines go along."""
_PLACES = _STEPS | {"head", "rank", "example", "shard", "query", "key", "n", "draw", "mask"}
"""Columns of numbers that say where a row belongs."""
_ENDS = re.compile(r"(^|_)(low|high|std|standard_error)$")
_NAMES = re.compile(r"(^|_)(id|at|hash)$")
_SPECIAL = re.compile(r"[.\[\]\\'\"]")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Named columns with their types, and rows.

    types: integer, real, text, boolean, bytes or null of each column
    rows: values of each row in the order of the columns
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: Sequence[Sequence[Any]]

    def named(self, *types: str) -> list[str]:
        """The columns of these types."""
        pairs = zip(self.columns, self.types, strict=True)
        return [name for name, kind in pairs if kind in types]

    def values(self, name: str) -> list[Any]:
        """The values of a column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart of a table: its kind, and the columns that its axes and colours show."""

    kind: str
    y: str
    """The column of the numbers: an axis, or the colours of a heat map."""
    x: str = ""
    """The column of the other axis; a heat map has layer and head."""
    series: str = ""
    """The column that tells lines, bars or points apart; empty for none."""


def propose(table: Table) -> dict[str, Chart]:
    """The charts that a table allows, by kind, with columns that make sense; the best one first."""
    numbers = _measures(table)
    if not numbers or not table.rows:
        return {}
    found: dict[str, Chart] = {}
    y = numbers[0]
    if {"layer", "head"} <= set(table.named(*_NUMBERS)) - {y} and _once_per_head(table):
        found["heads"] = Chart(kind="heads", y=y)
    texts = [name for name in table.named("text", "boolean") if name != y]
    steps = [name for name in table.named(*_NUMBERS) if name not in numbers or name != y]
    kinds: dict[str, tuple[list[str], list[str]]] = {
        "bars": (texts + steps, texts),
        "line": (sorted(steps, key=lambda name: name not in _STEPS) + texts, texts),
        "points": (numbers[1:] + steps, texts),
    }
    along = not texts or not _STEPS.isdisjoint(steps)
    order = ("line", "bars", "points") if along else ("bars", "line", "points")
    for kind in order:
        xs, groups = kinds[kind]
        if not xs:
            continue
        chart = Chart(kind=kind, y=y, x=xs[0])
        found[kind] = replace(chart, series=_series(table, chart, groups))
    return found


HEIGHT = 400
"""Pixels of a chart that is no heat map, with its axes and legend."""
FRAME = {
    "width": WIDTH,
    "height": HEIGHT,
    # Names below an axis may be long: they take their room from the marks.
    "autosize": {"type": "fit", "contains": "padding"},
}


def draw_table(
    table: Table, chart: Chart, note: str = "", sources: Sequence[Source] = ()
) -> VegaFigure:
    """A chart of a table.

    note: a sentence for the caption
    """
    names = {name: _SPECIAL.sub("_", name) for name in table.columns}
    rows = [
        {names[name]: _finite(value) for name, value in zip(table.columns, row, strict=True)}
        for row in table.rows
    ]
    y = Measure(name=names[chart.y], title=chart.y)
    if chart.kind == "heads":
        return _heads(rows, y, note, sources)
    x = Measure(name=names[chart.x], title=chart.x)
    numeric = table.types[table.columns.index(chart.x)] in _NUMBERS
    shown = tuple(dict.fromkeys(names[one] for one in (chart.x, chart.series, chart.y) if one))
    title = f"{chart.y} by {chart.x}"
    if chart.series:
        title += f" and {chart.series}"
    by_series = None
    if chart.series:
        name = names[chart.series]
        for row in rows:
            row[name] = str(row[name])
        by_series = series(name, chart.series, (row[name] for row in rows))
    return VegaFigure(
        title=title,
        description=f"{_WORDS[chart.kind]} of {len(rows):,} rows: {title}.",
        chart=_MARKS[chart.kind](x, y, by_series, numeric) | FRAME,
        columns=shown,
        rows=[{name: row[name] for name in shown} for row in rows],
        caption=caption(title, note, sources),
    )


def _heads(
    rows: Sequence[Mapping[str, Any]], y: Measure, note: str, sources: Sequence[Source]
) -> VegaFigure:
    known = [
        {"attention_type": row.get("kind") or "encoder", **row}
        for row in rows
        if None not in (row["layer"], row["head"])
    ]
    found = heat_map(known, y)
    return replace(found, caption=caption(found.title, note, sources))


def _line(x: Measure, y: Measure, by: dict[str, Any] | None, numeric: bool) -> dict[str, Any]:
    across = quantity(x) if numeric else _ordinal(x)
    colours = {"color": by, "strokeDash": by} if by else {}
    return {
        "mark": {"type": "line", "point": {"filled": True}},
        "encoding": {"x": across, "y": quantity(y), **colours, "tooltip": _tip(x, y, by, numeric)},
    }


def _bars(x: Measure, y: Measure, by: dict[str, Any] | None, numeric: bool) -> dict[str, Any]:
    colours = {"color": by, "xOffset": {"field": by["field"], "type": "nominal"}} if by else {}
    return {
        "mark": {"type": "bar"},
        "encoding": {
            "x": _ordinal(x),
            "y": quantity(y, zero=True),
            **colours,
            "tooltip": _tip(x, y, by, numeric),
        },
    }


def _points(x: Measure, y: Measure, by: dict[str, Any] | None, numeric: bool) -> dict[str, Any]:
    across = quantity(x) if numeric else _ordinal(x)
    colours = {"color": by, "shape": by} if by else {}
    return {
        "mark": {"type": "point", "filled": True, "opacity": 0.75},
        "encoding": {"x": across, "y": quantity(y), **colours, "tooltip": _tip(x, y, by, numeric)},
    }


_MARKS = {"line": _line, "bars": _bars, "points": _points}
_WORDS = {"line": "Lines", "bars": "Bars", "points": "Points"}


def _ordinal(measure: Measure) -> dict[str, Any]:
    axis = {"title": measure.axis, "labelLimit": 140, "labelOverlap": True}
    return {"field": measure.name, "type": "ordinal", "sort": None, "axis": axis}


def _tip(x: Measure, y: Measure, by: dict[str, Any] | None, numeric: bool) -> list[dict[str, Any]]:
    across = (x.name, x.title, NUMBER) if numeric else (x.name, x.title)
    named = [(by["field"], by["title"])] if by else []
    return tooltip(across, (y.name, y.title, NUMBER), *named)


def _measures(table: Table) -> list[str]:
    """The columns of numbers, the likeliest to be looked at first."""

    def place(name: str) -> tuple[bool, bool, bool]:
        kind = table.types[table.columns.index(name)]
        return (
            name in _PLACES or bool(_NAMES.search(name)),
            bool(_ENDS.search(name)),
            kind != "real",
        )

    return sorted(table.named(*_NUMBERS), key=place)


def _once_per_head(table: Table) -> bool:
    types = [table.values(name) for name in ("attention_type", "kind") if name in table.columns][:1]
    heads = list(zip(table.values("layer"), table.values("head"), *types, strict=True))
    return len(set(heads)) == len(heads)


def _series(table: Table, chart: Chart, names: Sequence[str]) -> str:
    """The first column that has few values and tells rows of the same place apart."""
    places = table.values(chart.x)
    if chart.kind != "points" and len(set(places)) == len(places):
        return ""
    for name in names:
        if name != chart.x and 1 < len(set(table.values(name))) <= MOST_SERIES:
            return name
    return ""


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
