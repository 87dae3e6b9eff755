"""Parts of specifications that several figures have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwise.figures.theme import DASHES

NUMBER, SHARE = ",.6~g", ".1%"
"""Formats of numbers and of shares, in the syntax of d3: 12,345 is no 1.23e+4."""
WIDTH = 560
"""Width of a figure in pixels, where its marks do not give it one."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that a figure shows."""

    name: str
    """Its column."""
    title: str
    meaning: str = ""
    unit: str = ""
    share: bool = False
    """A share of one, shown in percent."""

    @property
    def axis(self) -> str:
        """The title of its axis."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def format(self) -> str:
        """Its format in a tooltip."""
        return SHARE if self.share else NUMBER


def quantity(measure: Measure, **scale: Any) -> dict[str, Any]:
    """A measure on an axis."""
    axis = {"format": "~%" if measure.share else NUMBER, "title": measure.axis}
    found: dict[str, Any] = {"field": measure.name, "type": "quantitative", "axis": axis}
    return {**found, "scale": {"zero": False, "nice": True, **scale}}


def tooltip(*named: tuple[str, str] | tuple[str, str, str]) -> list[dict[str, Any]]:
    """Fields with their titles, numbers with their formats."""
    return [
        {"field": one[0], "title": one[1], "type": "nominal"}
        if len(one) == 2
        else {"field": one[0], "title": one[1], "type": "quantitative", "format": one[2]}
        for one in named
    ]


def ends(name: str) -> tuple[str, str]:
    """The columns of the ends of a measure's interval."""
    return f"{name}_low", f"{name}_high"


def present(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> tuple[str, ...]:
    """The names that are keys of a row with a value."""
    found = {name for row in rows for name, value in row.items() if value is not None}
    return tuple(name for name in names if name in found)


def series(name: str, title: str, values: Iterable[str]) -> dict[str, Any]:
    """A field that tells lines apart. Colours, dashes and symbols with it share a legend."""
    domain = list(dict.fromkeys(values))
    return {"field": name, "type": "nominal", "title": title, "scale": {"domain": domain}}


def dashed(field: Mapping[str, Any]) -> dict[str, Any]:
    """A field of `series` as dashes, one for each of its values."""
    scale = field["scale"]
    dashes = [DASHES[place % len(DASHES)] for place in range(len(scale["domain"]))]
    return {**field, "scale": {**scale, "range": dashes}}


def panels_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the panels that the rows belong to, in order; empty without any."""
    return list(dict.fromkeys(row["panel"] for row in rows if "panel" in row))


def in_panels(
    chart: Mapping[str, Any], name: str, values: Iterable[str], across: int = 2
) -> dict[str, Any]:
    """A chart once for each value of the field `name`, side by side with the same axes.

    across: panels in a row
    """
    header = {"title": None, "labelAnchor": "start", "labelFontSize": 12, "labelLimit": 420}
    order = list(dict.fromkeys(values))
    field = {"field": name, "type": "nominal", "sort": order, "header": header}
    return {"facet": field, "columns": min(across, max(1, len(order))), "spec": dict(chart)}
