"""Heat maps of heads, and the distribution of one head's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwise.figures.encoding import WIDTH, Measure, ends, in_panels, panels_of, present, tooltip
from headwise.figures.figure import Source, caption
from headwise.figures.vega import VegaFigure
from headwise.naming import head_name, site_label

_CELL, _LARGEST, _BESIDE = 27, 780, 330
"""Pixels of a cell, and of all cells of a map together, alone and beside another: of many heads or
layers each has fewer."""


def heat_map(
    rows: Sequence[Mapping[str, Any]], measure: Measure, sources: Sequence[Source] = ()
) -> VegaFigure:
    """A value per head, by layer and head.

    rows: of each head, in the order of the model's sites, `layer`, `head` and the measure; where
        known also `attention_type`, the ends of the value's interval (`mean_low`, `mean_high`),
        `rank`, and the ends of the rank's interval (`rank_low`, `rank_high`); of several maps on
        one scale also `panel`, the name of the map
    """
    low, high = ends(measure.name)
    named = {
        low: ("95 % from", measure.format),
        high: ("95 % to", measure.format),
        "rank": ("Rank", "d"),
        "rank_low": ("Rank, 95 % from", "d"),
        "rank_high": ("Rank, 95 % to", "d"),
    }
    known = present(rows, tuple(named))
    panels = panels_of(rows)
    shown = []
    for row in rows:
        attention_type = row.get("attention_type", "encoder")
        place = {"attention_type": attention_type, "layer": row["layer"], "head": row["head"]}
        label = {
            "site": site_label(row["layer"], attention_type),
            "name": head_name(row["layer"], row["head"], attention_type),
        }
        numbers = {name: row.get(name) for name in (measure.name, *known)}
        shown.append(
            {**{key: row[key] for key in ("panel",) if panels}, **label, **place, **numbers}
        )
    values = [row[measure.name] for row in shown if row[measure.name] is not None]
    titles = ((name, *named[name]) for name in known)
    chart: dict[str, Any] = {
        **_grid(shown, _BESIDE if len(panels) > 1 else _LARGEST),
        "mark": {"type": "rect", "invalid": "filter"},
    }
    chart["encoding"] |= {
        "color": {
            "field": measure.name,
            "type": "quantitative",
            "scale": colours(values),
            "legend": {"title": measure.axis, "format": measure.format, "tickCount": 5},
        },
        "tooltip": tooltip(
            ("name", "Head"), (measure.name, measure.title, measure.format), *titles
        ),
    }
    first = max(shown, key=lambda row: abs(row[measure.name] or 0), default=None)
    where = f"{first['name']} in {first['panel']}" if first and panels else first and first["name"]
    largest = f" The largest magnitude is that of {where}." if where else ""
    title = f"{measure.title} by layer and head"
    maps = "Heat map" if len(panels) < 2 else f"{len(panels)} heat maps on one scale"
    return VegaFigure(
        title=title,
        description=f"{maps} of {len(values):,} heads: {measure.title.lower()}.{largest}",
        chart=in_panels(chart, "panel", panels) if panels else chart,
        columns=(
            *["panel"][: len(panels)],
            *("name", "attention_type", "layer", "head", measure.name, *known),
        ),
        rows=shown,
        caption=caption(title, f"Colour: {measure.meaning}." if measure.meaning else "", sources),
    )


def histogram(
    rows: Sequence[Mapping[str, Any]], measure: Measure, title: str, sources: Sequence[Source] = ()
) -> VegaFigure:
    """Counts of examples in equal bins of a score.

    rows: of each bin, `low`, `high` and `count`
    """
    total = sum(row["count"] for row in rows)
    # Each bin has a tick, and their labels run together.
    thinned = {"labelOverlap": "greedy", "labelSeparation": 8}
    axis = {"title": measure.axis, "format": measure.format, **thinned}
    most = max((row["count"] for row in rows), default=0)
    whole = list(range(0, most + 1, max(1, -(-most // 5))))
    counts = {"title": "Examples", "values": whole, "format": ",d"}
    chart = {
        "width": WIDTH,
        "height": 220,
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": {"field": "low", "type": "quantitative", "bin": "binned", "axis": axis},
            "x2": {"field": "high"},
            "y": {"field": "count", "type": "quantitative", "axis": counts},
            "tooltip": tooltip(
                ("low", "From", measure.format),
                ("high", "To", measure.format),
                ("count", "Examples", ",d"),
            ),
        },
    }
    return VegaFigure(
        title=title,
        description=f"Histogram of {measure.title.lower()} over {total:,} examples.",
        chart=chart,
        columns=("low", "high", "count"),
        rows=rows,
        caption=caption(title, "", sources),
    )


def _grid(rows: Sequence[Mapping[str, Any]], largest: int) -> dict[str, Any]:
    """Size and axes of a grid of heads, of at most `largest` pixels."""
    sites = list(dict.fromkeys(row["site"] for row in rows))
    heads = {row["head"] for row in rows}
    return {
        "width": {"step": _step(len(heads), largest)},
        "height": {"step": _step(len(sites), largest)},
        "encoding": {
            "x": {
                "field": "head",
                "type": "ordinal",
                "axis": {"title": "Head", "labelAngle": 0, "labelOverlap": True},
                "scale": {"padding": 0.06},
            },
            "y": {
                "field": "site",
                "type": "ordinal",
                "sort": sites,
                "axis": {"title": "Layer", "labelOverlap": True},
                "scale": {"padding": 0.06},
            },
        },
    }


def _step(cells: int, largest: int) -> float:
    return min(_CELL, round(largest / max(1, cells), 1))


def colours(values: Sequence[float]) -> dict[str, Any]:
    """The scale of colours: around zero if a value is negative, else from zero."""
    top = max(map(abs, values), default=0.0) or 1.0
    if any(value < 0 for value in values):
        return {"domain": [-top, top], "domainMid": 0, "interpolate": "lab"}
    return {"domain": [0, top], "interpolate": "lab"}
