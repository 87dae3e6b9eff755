"""Rankings of heads compared: a scatter plot of two, and the ranks by several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwise.figures.encoding import NUMBER, WIDTH, Measure, ends, present, quantity, tooltip
from headwise.figures.figure import Source, caption
from headwise.figures.vega import VegaFigure

NAMED = 8
"""Heads of a scatter plot whose names are written: the largest by either ranking."""
TOP = 5
"""Heads of a bump chart that stand out: the first ones by any ranking."""


def scatter(
    rows: Sequence[Mapping[str, Any]], x: Measure, y: Measure, sources: Sequence[Source] = ()
) -> VegaFigure:
    """Heads by two measures.

    rows: of each head its `name`, both measures, and where known the ends of their intervals, such
        as `x_low` and `x_high` of a measure `x`
    """
    known = present(rows, (*ends(x.name), *ends(y.name)))
    columns = ("name", x.name, y.name, *known)
    large = _largest(rows, (x, y))
    shown = [
        {**{name: row.get(name) for name in columns}, "label": row["name"] in large} for row in rows
    ]
    layers: list[dict[str, Any]] = []
    for axis, measure in (("x", x), ("y", y)):
        low, high = ends(measure.name)
        if high in known:
            ends_of = {axis: {"field": low, "type": "quantitative"}, f"{axis}2": {"field": high}}
            layers.append(
                {"mark": {"type": "rule", "style": "quiet", "opacity": 0.5}, "encoding": ends_of}
            )
    titles = ((name, name.replace("_", " "), NUMBER) for name in known)
    layers += [
        {
            "mark": {"type": "point", "filled": True, "opacity": 0.8},
            "encoding": {
                "tooltip": tooltip(
                    ("name", "Head"),
                    (x.name, x.title, x.format),
                    (y.name, y.title, y.format),
                    *titles,
                )
            },
        },
        {
            "transform": [{"filter": "datum.label"}],
            "mark": {"type": "text", "align": "left", "dx": 6, "dy": -5},
            "encoding": {"text": {"field": "name"}},
        },
    ]
    chart = {
        "width": 460,
        "height": 400,
        "encoding": {"x": quantity(x), "y": quantity(y)},
        "layer": layers,
    }
    title = f"{x.title} and {y.title}"
    return VegaFigure(
        title=title,
        description=f"Scatter plot of {len(rows):,} heads: {x.title} against {y.title}.",
        chart=chart,
        columns=columns,
        rows=shown,
        caption=caption(
            title,
            f"A point is a head; the {len(large)} largest by either are named." if large else "",
            sources,
        ),
    )


def bump(rows: Sequence[Mapping[str, Any]], sources: Sequence[Source] = ()) -> VegaFigure:
    """The rank of every head by several rankings; the first ones of each stand out.

    rows: of each head and ranking, in the order of the rankings, `name`, `ranking`, `rank`, and
        where known the ends of its interval (`rank_low`, `rank_high`)
    """
    first = {row["name"] for row in rows if row["rank"] <= TOP}
    columns = ("ranking", "name", "rank", "rank_low", "rank_high")
    shown = [
        {**{name: row.get(name) for name in columns}, "top": row["name"] in first} for row in rows
    ]
    rankings = list(dict.fromkeys(row["ranking"] for row in rows))
    top = {"filter": "datum.top"}
    # Rank 1 at the top; a logarithm, because the first ranks are what one asks for.
    rank: dict[str, Any] = {
        "field": "rank",
        "type": "quantitative",
        "scale": {"reverse": True, "type": "log", "nice": False},
        "axis": {"title": "Rank", "values": _ticks(rows), "format": "d"},
    }
    across: dict[str, Any] = {
        "field": "ranking",
        "type": "ordinal",
        "sort": rankings,
        "axis": {"title": "Ranking", "labelAngle": 0, "labelLimit": 150},
        "scale": {"paddingInner": 0.75, "paddingOuter": 0.4},
    }
    names: dict[str, Any] = {"field": "name", "type": "nominal"}
    colour: dict[str, Any] = {
        **names,
        "legend": None,
        "scale": {"domain": sorted(first, key=_order(rows))},
    }
    label: dict[str, Any] = {"text": {"field": "name"}, "color": colour}
    # Intervals of heads that are close would hide each other.
    beside = {"xOffset": {**names, "scale": {"domain": colour["scale"]["domain"]}}}
    layers: list[dict[str, Any]] = [
        {
            "mark": {"type": "line", "style": "quiet", "opacity": 0.25, "strokeWidth": 0.8},
            "transform": [{"filter": "!datum.top"}],
            "encoding": {"detail": names},
        },
        {
            "transform": [top, {"filter": "datum.rank_high !== null"}],
            "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.35},
            "encoding": {
                **beside,
                "y": {**rank, "field": "rank_low"},
                "y2": {"field": "rank_high"},
                "color": colour,
            },
        },
        {"transform": [top], "mark": "line", "encoding": {"color": colour, **beside}},
        {
            "transform": [top],
            "mark": {"type": "point", "filled": True, "opacity": 1},
            "encoding": {
                "color": colour,
                **beside,
                "tooltip": tooltip(
                    ("name", "Head"),
                    ("ranking", "Ranking"),
                    ("rank", "Rank", "d"),
                    ("rank_low", "95 % from", "d"),
                    ("rank_high", "95 % to", "d"),
                ),
            },
        },
        *(
            {
                "transform": [top, {"filter": {"field": "ranking", "equal": ranking}}],
                "mark": {"type": "text", "align": align, "dx": shift},
                "encoding": label | {"x": across | {"bandPosition": place}},
            }
            for ranking, align, shift, place in (
                (rankings[0], "right", -8, 0),
                (rankings[-1], "left", 8, 1),
            )
        ),
    ]
    title = f"Ranks of heads by {len(rankings)} rankings"
    return VegaFigure(
        title=title,
        description=f"The ranks of {len({row['name'] for row in rows}):,} heads by "
        f"{', '.join(rankings)}.",
        chart={
            "width": WIDTH,
            "height": 480,
            "encoding": {"x": across, "y": rank},
            "layer": layers,
        },
        columns=columns,
        rows=shown,
        caption=caption(
            title,
            f"Heads among the first {TOP} of a ranking are coloured; broad bars are 95 % "
            "intervals of their ranks.",
            sources,
        ),
    )


def _largest(rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure]) -> set[str]:
    """The names of the largest heads by each measure in turn, NAMED together."""
    orders = [sorted(rows, key=lambda row: -abs(row[measure.name] or 0.0)) for measure in measures]
    names = (row["name"] for together in zip(*orders, strict=True) for row in together)
    return set(list(dict.fromkeys(names))[:NAMED])


def _order(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Heads by their rank in the first ranking."""
    first: dict[str, float] = {}
    for row in rows:
        first.setdefault(row["name"], row["rank"])
    return first.__getitem__


def _ticks(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    last = max((row["rank"] for row in rows), default=1)
    return [tick for tick in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= last]
