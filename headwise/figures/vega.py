"""A figure that is a chart, as a Vega-Lite specification."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headwise.errors import OptionError
from headwise.figures.figure import Figure
from headwise.figures.palette import LIGHT, Palette
from headwise.figures.theme import config

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


@dataclass(frozen=True, kw_only=True)
class VegaFigure(Figure):
    """A chart. Pages, notebooks and Altair draw its specification."""

    chart: Mapping[str, Any]
    """The specification without data, colours and texts."""

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> VegaFigure:
        """The figure whose `spec` this is. Raises OptionError for another specification."""
        rest = dict(spec)
        try:
            about = rest.pop("usermeta")["headwise"]
            description, rows = rest.pop("description"), rest.pop("data")["values"]
            title, caption = about["title"], about["caption"]
            columns = tuple(about["columns"])
        except (KeyError, TypeError):
            raise OptionError("the specification is not one that a figure wrote") from None
        chart = {key: value for key, value in rest.items() if key not in ("$schema", "config")}
        return cls(
            title=title,
            description=description,
            chart=chart,
            columns=columns,
            rows=rows,
            caption=caption,
        )

    @property
    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification in light colours; `altair.Chart.from_dict` takes it."""
        return self.themed(LIGHT)

    def themed(self, palette: Palette) -> dict[str, Any]:
        """The Vega-Lite specification in the colours of a palette."""
        return {
            "$schema": SCHEMA,
            "description": self.description,
            "usermeta": {
                "headwise": {
                    "title": self.title,
                    "caption": self.caption,
                    "columns": list(self.columns),
                }
            },
            "data": {"values": [dict(row) for row in self.rows]},
            **self.chart,
            "config": config(palette),
        }

    @property
    def drawing(self) -> dict[str, Any]:
        """The specification."""
        return self.spec

    def json(self) -> str:
        """The specification as JSON."""
        return json.dumps(self.spec, ensure_ascii=False, allow_nan=False)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "application/vnd.vegalite.v6+json": self.spec,
            "text/html": self._repr_html_(),
            "text/plain": self.caption,
        }
