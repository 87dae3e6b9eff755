"""Completeness: the error of sums of attributions, by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from headwise.figures.encoding import NUMBER, WIDTH, in_panels, panels_of, series, tooltip
from headwise.figures.figure import Source, caption
from headwise.figures.vega import VegaFigure

_QUANTILES = {"median": "median", "p95": "95 %", "worst": "worst"}


def completeness(rows: Sequence[Mapping[str, Any]], sources: Sequence[Source] = ()) -> VegaFigure:
    """The residual of completeness by site: median, 95th percentile and worst.

    rows: of each site, in the order of the model, `site` (its name), `median`, `p95`, `worst`, and
        `points`, the mean number of integration points; of several jobs also `panel`, the name of
        the job
    """
    panels = panels_of(rows)
    residuals = [
        {
            **{key: row[key] for key in ("panel",) if panels},
            **{"site": row["site"], "quantile": title, "residual": row[name]},
            "points": row["points"],
        }
        for row in rows
        for name, title in _QUANTILES.items()
    ]
    by_quantile = series("quantile", "|Residual|", _QUANTILES.values())
    chart = {
        "width": WIDTH if len(panels) < 2 else WIDTH // 2,
        "height": 260 if len(panels) < 2 else 180,
        # A logarithm has no place for a residual of zero.
        "transform": [{"filter": "datum.residual > 0"}],
        "mark": {"type": "line", "point": {"filled": True}},
        "encoding": {
            "x": {
                "field": "site",
                "type": "ordinal",
                "sort": list(dict.fromkeys(row["site"] for row in rows)),
                "axis": {"title": "Layer", "labelAngle": 0, "labelOverlap": True},
            },
            "y": {
                "field": "residual",
                "type": "quantitative",
                "scale": {"type": "log"},
                "axis": {
                    "title": "|Residual|, in units of the target",
                    "format": ".0e",
                    "values": _ticks([one["residual"] for one in residuals]),
                },
            },
            "color": by_quantile,
            "strokeDash": by_quantile,
            "shape": by_quantile,
            "tooltip": tooltip(
                ("site", "Layer"),
                ("quantile", "Quantile"),
                ("residual", "|Residual|", ".2e"),
                ("points", "Mean points", NUMBER),
            ),
        },
    }
    worst = max((row["worst"] for row in rows), default=0.0)
    title = "Completeness by layer"
    return VegaFigure(
        title=title,
        description=f"Residual of completeness by layer: median, 95th percentile and worst. "
        f"The largest is {worst:.2g}.",
        chart=in_panels(chart, "panel", panels) if panels else chart,
        columns=(*["panel"][: len(panels)], "site", "quantile", "residual", "points"),
        rows=residuals,
        caption=caption(
            title,
            "The residual is the part of the target's change that the attributions miss.",
            sources,
        ),
    )


def _ticks(values: Sequence[float]) -> list[float]:
    """The powers of ten from the smallest positive value to the largest; of few, more between."""
    tens = [math.log10(value) for value in values if value > 0] or [0.0]
    powers = range(math.floor(min(tens)), math.ceil(max(tens)) + 1)
    between = (1, 2, 5) if len(powers) < 4 else (1,)
    return [factor * 10.0**power for power in powers for factor in between]
