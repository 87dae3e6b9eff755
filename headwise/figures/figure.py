"""A figure: its picture, the table of its numbers, its caption, and its files."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from headwise.errors import OptionError
from headwise.figures import rendering

Cell = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Sources of the numbers of a figure."""

    model: str | None = None
    data: str | None = None
    examples: int | None = None
    """The number of examples that the numbers are of."""
    example: int | None = None
    """The number of the one example that they are of."""
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
            ("example", self.example),
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
class Figure(ABC):
    """A figure. A notebook displays it; `save` writes it as SVG, PNG, PDF, CSV or JSON."""

    title: str
    description: str
    """The figure in words, for those who do not see it."""
    columns: tuple[str, ...]
    """The columns of the table."""
    rows: Sequence[Mapping[str, Any]]
    """The numbers: the picture's data, and the table's rows."""
    caption: str
    """The title, how to read the figure, and where its numbers come from."""

    @property
    @abstractmethod
    def drawing(self) -> rendering.Drawing:
        """The source of its pictures in light colours."""

    @abstractmethod
    def json(self) -> str:
        """The figure as JSON, from which it can be made again."""

    def csv(self) -> str:
        """The table as CSV (RFC 4180)."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(self.columns)
        writer.writerows([row[name] for name in self.columns] for row in self.rows)
        return text.getvalue()

    def svg(self) -> str:
        """The figure as SVG. Raises FigureError."""
        return rendering.render(self.drawing, "svg").decode()

    def png(self) -> bytes:
        """The figure as PNG, at 200 pixels per inch. Raises FigureError."""
        return rendering.render(self.drawing, "png")

    def pdf(self) -> bytes:
        """The figure as a PDF page of its size. Raises FigureError."""
        return rendering.render(self.drawing, "pdf")

    def content(self, form: str) -> bytes:
        """The figure as a file: `svg`, `png`, `pdf`, `csv` or `json`.

        Raises OptionError for another form, FigureError where it cannot be drawn.
        """
        if form in rendering.FORMS:
            return rendering.render(self.drawing, form)
        if form not in FORMS:
            raise OptionError(f"a figure cannot be written as {form!r}; use {', '.join(FORMS)}")
        return (self.csv() if form == "csv" else self.json()).encode()

    def save(self, path: str | Path) -> None:
        """Write the figure in the format that the file's name ends with."""
        content = self.content(Path(path).suffix.removeprefix(".").lower())
        Path(path).write_bytes(content)

    def _repr_html_(self) -> str:
        """The picture and its caption; its table where nothing is installed that draws."""
        shown = self.svg() if rendering.available(self.drawing, "svg") else self.table()
        return f"<figure>{shown}<figcaption>{escape(self.caption)}</figcaption></figure>"

    def table(self) -> str:
        """The table as HTML."""
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
