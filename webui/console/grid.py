"""The rows of a result as a page shows them: cells cut, and as many rows as its bytes allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import get_template_attribute
from markupsafe import Markup

from db.console.console import PREVIEW_CELL, QueryResult
from webui.console.asked import Asked

ROW_BYTES = 25_000
"""Bytes of the rows of a page in HTML: the whole page stays below 100 kB."""
MOST_SHOWN = 50
"""Columns that a page shows; a file has all."""
LONGEST_NAME = 60
"""Characters of a column's name in its heading."""
CLIPPED = 40
"""Characters of a text that a cell has room for, about."""


@dataclass(frozen=True, kw_only=True)
class Heading:
    """The heading of a column."""

    number: int
    """Its place, from 1."""
    name: str
    type: str
    direction: str
    """The order of the rows by it: ascending, descending or none."""

    @property
    def numeric(self) -> bool:
        """Its values are numbers."""
        return self.type in ("integer", "real")

    @property
    def next_sort(self) -> int:
        """The sort that a click asks for: ascending, then descending, then none."""
        return {"none": self.number, "ascending": -self.number}.get(self.direction, 0)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value as a cell shows it."""

    value: object
    place: str
    """Row and column, from 0."""
    cut: bool
    """Its end may not be here."""

    @property
    def text(self) -> str:
        """The value in words."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return f"{self.value:.7g}" if isinstance(self.value, float) else str(self.value)

    @property
    def rounded(self) -> bool:
        """It is a number with more digits than are shown."""
        return isinstance(self.value, float) and float(self.text) != self.value

    @property
    def clipped(self) -> bool:
        """The cell has no room for it."""
        found = self.value
        return isinstance(found, str) and (self.cut or len(found) > CLIPPED or "\n" in found)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The part of a result that a page shows."""

    headings: tuple[Heading, ...]
    rows: tuple[Markup, ...]
    first: int
    """The number of the first row, from 1."""
    count: int
    """Rows of the result, up to the limit of rows."""
    columns: int
    """Columns of the result."""
    more: bool
    """The result has more rows than `count`."""

    @property
    def last(self) -> int:
        """The number of the last row."""
        return self.first + len(self.rows) - 1

    @property
    def next(self) -> int | None:
        """The number of the row that follows, None at the end."""
        return self.last + 1 if self.last < self.count else None


def grid(result: QueryResult, asked: Asked) -> Grid:
    """The rows from the first that was asked for, as many as fit."""
    shown = result.columns[:MOST_SHOWN]
    types = result.types[: len(shown)]
    numeric = [one in ("integer", "real") for one in types]
    rows: list[Markup] = []
    left = ROW_BYTES
    for number, row in enumerate(result.rows, asked.first - 1):
        html = _row(row[: len(shown)], number, numeric)
        left -= len(html.encode())
        if rows and left < 0:
            break
        rows.append(html)
    return Grid(
        headings=tuple(
            Heading(number=place, name=name, type=kind, direction=_direction(place, asked.sort))
            for place, (name, kind) in enumerate(zip(shown, types, strict=True), 1)
        ),
        rows=tuple(rows),
        first=asked.first,
        count=result.count,
        columns=len(result.columns),
        more=result.truncated,
    )


def _row(row: Sequence[object], number: int, numeric: Sequence[bool]) -> Markup:
    html = _drawn(row, number, numeric, PREVIEW_CELL)
    return html if len(html.encode()) <= ROW_BYTES else _drawn(row, number, numeric, CLIPPED // 2)


def _drawn(row: Sequence[object], number: int, numeric: Sequence[bool], most: int) -> Markup:
    """A row whose texts have at most so many characters."""
    cells = [_cell(value, f"{number}.{place}", most) for place, value in enumerate(row)]
    return Markup(get_template_attribute("sql_macros.html", "row")(cells, numeric))  # noqa: S704


def _cell(value: object, place: str, most: int) -> Cell:
    cut = isinstance(value, str) and len(value) >= most
    if isinstance(value, str) and len(value) > most:
        value = value[: most - 1] + "…"
    return Cell(value=value, place=place, cut=cut)


def _direction(place: int, sort: int) -> str:
    if place != abs(sort):
        return "none"
    return "ascending" if sort > 0 else "descending"
