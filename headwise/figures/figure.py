"""A figure: a chart as a Vega-Lite specification, the table of its numbers, and its caption."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from headwise.errors import OptionError
from headwise.figures import rendering
from headwise.figures.palette import LIGHT, Palette
from headwise.figures.theme import config

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
Cell = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Sources of the numbers of a figure."""

    model: str | None = None
    data: str | None = None
    examples: int | None = None
    rtol: float | None = None
    """The relative error that the integration was asked for."""
    job: int | None = None
    result_hash: str | None = None
    provisional: bool = False
    """Not all shards are done."""
    worker: str | None = None
    period: str | None = None
    """The time up to now that was looked at, in words: `24 hours`."""

    def __str__(self) -> str:
        parts = (
            ("model", self.model),
            ("data", self.data),
            ("n =", None if self.examples is None else f"{self.examples:,}"),
            ("rtol", None if self.rtol is None else f"{self.rtol:g}"),
            ("job", self.job),
            ("result", self.result_hash and self.result_hash[:12]),
            ("worker", self.worker),
            ("last", self.period),
        )
        found = [f"{name} {value}" for name, value in parts if value is not None]
        return ", ".join([*found, "provisional"] if self.provisional else found)


def caption(title: str, note: str, sources: Sequence[Source]) -> str:
    """A figure's caption: its title, how the marks are to be read, and its sources."""
    named = [f"{one[:1].upper()}{one[1:]}." for one in map(str, sources) if one]
    return " ".join(filter(None, (f"{title}.", note, *named)))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure. A notebook displays it; `save` writes it as SVG, PNG, PDF, CSV or JSON."""

    title: str
    description: str
    """The figure in words, for those who do not see it."""
    chart: Mapping[str, Any]
    """The specification without data, colours and texts."""
    columns: tuple[str, ...]
    """The columns of the table."""
    rows: Sequence[Mapping[str, Any]]
    """The numbers: the chart's data, and the table's rows."""
    caption: str
    """The title, how to read the figure, and where its numbers come from."""

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Figure:
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

    def csv(self) -> str:
        """The table as CSV (RFC 4180)."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(self.columns)
        writer.writerows([row[name] for name in self.columns] for row in self.rows)
        return text.getvalue()

    def svg(self) -> str:
        """The figure as SVG. Raises FigureError."""
        return rendering.render(self.spec, "svg").decode()

    def png(self) -> bytes:
        """The figure as PNG, at 200 pixels per inch. Raises FigureError."""
        return rendering.render(self.spec, "png")

    def pdf(self) -> bytes:
        """The figure as a PDF page of its size. Raises FigureError."""
        return rendering.render(self.spec, "pdf")

    def json(self) -> str:
        """The Vega-Lite specification as JSON."""
        return json.dumps(self.spec, ensure_ascii=False, allow_nan=False)

    def content(self, form: str) -> bytes:
        """The figure as a file: `svg`, `png`, `pdf`, `csv` or `json`.

        Raises OptionError for another form, FigureError where it cannot be drawn.
        """
        if form in rendering.FORMS:
            return rendering.render(self.spec, form)
        if form not in FORMS:
            raise OptionError(f"a figure cannot be written as {form!r}; use {', '.join(FORMS)}")
        return (self.csv() if form == "csv" else self.json()).encode()

    def save(self, path: str | Path) -> None:
        """Write the figure in the format that the file's name ends with."""
        content = self.content(Path(path).suffix.removeprefix(".").lower())
        Path(path).write_bytes(content)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "application/vnd.vegalite.v6+json": self.spec,
            "text/html": self._repr_html_(),
            "text/plain": self.caption,
        }

    def _repr_html_(self) -> str:
        """The picture and its caption; its table where nothing is installed that draws."""
        shown = self.svg() if rendering.available() else self._table()
        return f"<figure>{shown}<figcaption>{escape(self.caption)}</figcaption></figure>"

    def _table(self) -> str:
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(_text(row[name]))}</td>' for name in self.columns)}</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


FORMS = (*rendering.FORMS, "csv", "json")
"""Formats of files."""


def _text(value: Cell) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
