"""A figure of one example, as an SVG of our own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headwise.errors import OptionError
from headwise.figures.figure import Figure

WIDE, NARROW = 720, 312
"""Pixels of a picture across, at most: on paper and screens, and on phones and in columns."""


@dataclass(frozen=True, kw_only=True)
class SentenceFigure(Figure):
    """Words, arcs or a tree."""

    picture: Callable[[int], str]
    """The SVG for a width in pixels. Lines break at that width; a tree keeps its own."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SentenceFigure:
        """The figure of which `json` wrote this. Raises OptionError for anything else."""
        try:
            texts = {name: values[name] for name in ("title", "description", "caption", "rows")}
            columns, svg = tuple(values["columns"]), str(values["svg"])
        except (KeyError, TypeError):
            raise OptionError("this is not what a figure of an example wrote") from None
        return cls(**texts, columns=columns, picture=lambda _width: svg)

    @property
    def drawing(self) -> str:
        """The picture on paper."""
        return self.picture(WIDE)

    @property
    def narrow(self) -> str:
        """The picture for phones and columns."""
        return self.picture(NARROW)

    def json(self) -> str:
        """Texts, table and SVG as JSON."""
        names = ("title", "description", "caption", "columns", "rows")
        values = {**{name: getattr(self, name) for name in names}, "svg": self.drawing}
        return json.dumps(values, ensure_ascii=False, allow_nan=False)
