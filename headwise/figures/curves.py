"""Curves of pruning: what a model keeps as heads are removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwise.figures.encoding import (
    WIDTH,
    Measure,
    dashed,
    ends,
    in_panels,
    quantity,
    series,
    tooltip,
)
from headwise.figures.figure import Source, caption
from headwise.figures.theme import DASHES, SHAPES
from headwise.figures.vega import VegaFigure

ORDERS = {
    "least": "least important first",
    "most": "most important first",
    "any": "random order",
    "notebook": "notebook's rule",
}
"""The orders in which heads are removed, in words."""


def pruning_curves(
    rows: Sequence[Mapping[str, Any]],
    measure: Measure,
    removed: Measure,
    sources: Sequence[Source] = (),
) -> VegaFigure:
    """A measure of the model against the heads that are removed, a line per ranking and order.

    rows: of each point `ranking` (its name), `direction` (a key of ORDERS), `removed` (the number
        of heads), the place on the axis if that is another column, the measure, and the ends of its
        interval (`accuracy_low`, `accuracy_high`); of random orders together the mean, the smallest
        and the largest value; of the notebook's rule a single point
    removed: the axis of what is removed
    """
    low, high = ends(measure.name)
    columns = ("ranking", "order", removed.name, "removed", measure.name, low, high)
    shown = [
        {**{name: row.get(name) for name in columns}, "order": ORDERS[row["direction"]]}
        for row in rows
    ]
    rankings = [row["ranking"] for row in rows if row["direction"] != "any"]
    orders = _orders(shown)
    by_ranking = series("ranking", "Ranking", rankings)
    by_order = series("order", "Heads removed", orders)
    places = list(ORDERS.values())
    by_order["scale"]["range"] = [DASHES[places.index(order)] for order in orders]
    random, single = ({"field": "order", "equal": ORDERS[key]} for key in ("any", "notebook"))
    ranked = {"filter": {"not": random}}
    colours = {"color": by_ranking, "detail": {"field": "order"}}
    shape = {**by_ranking, "scale": {**by_ranking["scale"], "range": list(SHAPES)}}
    named = [("ranking", "Ranking"), ("order", "Heads removed")]
    layers: list[dict[str, Any]] = []
    if ORDERS["any"] in orders:
        layers += _random(measure, random, {"strokeDash": by_order})
    layers += [
        {"transform": [ranked], "mark": "rule", "encoding": {**_span(measure), **colours}},
        {
            "transform": [ranked, {"filter": {"not": single}}],
            "mark": "line",
            "encoding": {**colours, "strokeDash": by_order},
        },
        {
            "transform": [ranked],
            "mark": {"type": "point", "filled": True, "opacity": 1},
            "encoding": {**colours, "shape": shape, "tooltip": _tooltip(measure, named)},
        },
    ]
    if any(row["direction"] == "notebook" for row in rows):
        layers.append(
            {
                "transform": [{"filter": single}],
                "mark": {"type": "text", "align": "left", "dx": 7, "dy": -6},
                "encoding": {"text": {"field": "order"}},
            }
        )
    chart = {
        "width": WIDTH,
        "height": 320,
        "encoding": {"x": _across(removed), "y": quantity(measure)},
        "layer": layers,
    }
    return _figure(chart, columns, shown, measure, sources)


def curves_of_jobs(
    rows: Sequence[Mapping[str, Any]],
    measure: Measure,
    removed: Measure,
    sources: Sequence[Source] = (),
) -> VegaFigure:
    """The curves of several jobs: a panel per order, a hue per ranking and a dash per job.

    rows: as those of `pruning_curves` without the notebook's rule, and the name of each one's `job`
    """
    low, high = ends(measure.name)
    columns = ("job", "ranking", "order", removed.name, "removed", measure.name, low, high)
    shown = [
        {**{name: row.get(name) for name in columns}, "order": ORDERS[row["direction"]]}
        for row in rows
    ]
    rankings = [row["ranking"] for row in rows if row["direction"] != "any"]
    jobs = list(dict.fromkeys(row["job"] for row in rows))
    orders = [order for order in _orders(shown) if order != ORDERS["any"]]
    by_ranking, by_job = series("ranking", "Ranking", rankings), dashed(series("job", "Job", jobs))
    shape = {**by_job, "scale": {**by_job["scale"], "range": list(SHAPES)}}
    random = {"field": "order", "equal": ORDERS["any"]}
    ranked = {"filter": {"not": random}}
    hues = {"color": by_ranking}
    named = [("job", "Job"), ("ranking", "Ranking"), ("order", "Heads removed")]
    layers: list[dict[str, Any]] = []
    if len(orders) < len(_orders(shown)):
        layers += _random(measure, random, {"strokeDash": by_job}, {"detail": {"field": "job"}})
    layers += [
        {
            "transform": [ranked],
            "mark": {"type": "rule", "opacity": 0.45},
            "encoding": {**_span(measure), **hues},
        },
        {"transform": [ranked], "mark": "line", "encoding": {**hues, "strokeDash": by_job}},
        {
            "transform": [ranked],
            "mark": {"type": "point", "filled": True, "opacity": 1},
            "encoding": {**hues, "shape": shape, "tooltip": _tooltip(measure, named)},
        },
    ]
    chart = {
        "width": 340,
        "height": 280,
        "encoding": {"x": _across(removed), "y": quantity(measure)},
        "layer": layers,
    }
    # Random orders are what both panels are compared with.
    places = f"datum.order === '{ORDERS['any']}' ? {orders or ['']} : [datum.order]"
    panels = [{"calculate": places, "as": "panel"}, {"flatten": ["panel"]}]
    chart = {"transform": panels, **in_panels(chart, "panel", orders)}
    return _figure(chart, columns, shown, measure, sources)


def _orders(shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """The orders of the curves; the notebook's rule is a point."""
    found = {row["order"] for row in shown} - {ORDERS["notebook"]}
    return [order for order in ORDERS.values() if order in found]


def _across(removed: Measure) -> dict[str, Any]:
    """The axis of what is removed."""
    return {
        "field": removed.name,
        "type": "quantitative",
        "axis": {
            "title": removed.axis,
            "format": "~%" if removed.share else "d",
            "tickMinStep": 0.01 if removed.share else 1,
            "grid": False,
        },
    }


def _span(measure: Measure) -> dict[str, Any]:
    """The interval of a measure, upright."""
    low, high = ends(measure.name)
    return {"y": {"field": low, "type": "quantitative"}, "y2": {"field": high}}


def _random(
    measure: Measure,
    random: Mapping[str, Any],
    line: Mapping[str, Any],
    band: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The band and the line of random orders."""
    return [
        {
            "transform": [{"filter": random}],
            "mark": {"type": "area", "style": "quiet", "opacity": 0.18},
            "encoding": {**_span(measure), **(band or {})},
        },
        {
            "transform": [{"filter": random}],
            "mark": {"type": "line", "style": "quiet"},
            "encoding": dict(line),
        },
    ]


def _tooltip(measure: Measure, named: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The point of a curve: the names of its line, and its numbers."""
    low, high = ends(measure.name)
    return tooltip(
        *named,
        ("removed", "Heads", "d"),
        (measure.name, measure.title, measure.format),
        (low, "95 % from", measure.format),
        (high, "95 % to", measure.format),
    )


def _figure(
    chart: Mapping[str, Any],
    columns: Sequence[str],
    shown: Sequence[Mapping[str, Any]],
    measure: Measure,
    sources: Sequence[Source],
) -> VegaFigure:
    note = "Vertical bars are 95 % intervals over the examples."
    if ORDERS["any"] in _orders(shown):
        note += " Random order: the line is the mean over the orders, the band their range."
    lines = len({(row.get("job"), row["ranking"], row["order"]) for row in shown})
    title = f"{measure.title} by heads removed"
    return VegaFigure(
        title=title,
        description=f"{lines} curves of {measure.title.lower()} against heads removed.",
        chart=chart,
        columns=tuple(dict.fromkeys(columns)),
        rows=shown,
        caption=caption(title, note, sources),
    )
