"""Formats of results on disk: CSV, JSON, and rows to be converted.

Only the standard library is imported here, for the sake of `db.console.child`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from db.results.csv_text import csv_text

Row = Sequence[object]

DOWNLOADS = ("csv", "json", "parquet")
"""Formats of `Console.download`."""


class Format(Protocol):
    """A format: the texts of a file's beginning, of some rows, and of its end."""

    def begin(self, names: Sequence[str]) -> str: ...
    def rows(self, rows: Iterable[Row]) -> str: ...
    def end(self) -> str: ...


class Csv:
    """RFC 4180, header first."""

    def begin(self, names: Sequence[str]) -> str:
        return csv_text([names])

    def rows(self, rows: Iterable[Row]) -> str:
        return csv_text(rows)

    def end(self) -> str:
        return ""


class Json:
    """One array with an object per row. NaN and the infinities are null."""

    def begin(self, names: Sequence[str]) -> str:
        self._names = unique(names)
        self._before = "\n"
        return "["

    def rows(self, rows: Iterable[Row]) -> str:
        lines = [
            json.dumps(
                dict(zip(self._names, map(_finite, row), strict=True)),
                ensure_ascii=False,
                allow_nan=False,
            )
            for row in rows
        ]
        if not lines:
            return ""
        before, self._before = self._before, ",\n"
        return before + ",\n".join(lines)

    def end(self) -> str:
        return "\n]\n"


class Rows:
    """A line per row, an array as Python's json writes it: for `db.console.parquet`."""

    def begin(self, names: Sequence[str]) -> str:
        return ""

    def rows(self, rows: Iterable[Row]) -> str:
        return "".join(json.dumps(row) + "\n" for row in rows)

    def end(self) -> str:
        return ""


FORMATS: dict[str, type[Format]] = {"csv": Csv, "json": Json, "rows": Rows}


def unique(names: Sequence[str]) -> list[str]:
    """The names, numbered where one comes again: `n`, `n_2`."""
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
