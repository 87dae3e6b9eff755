"""Rows as CSV: the one rule for every export, page and command.

Only the standard library is imported here, for the sake of `db.console.child`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_FORMULA = frozenset("=+-@\t\r\n")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Lines of RFC 4180, for rows of None, bool, int, float and str."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(map(_cell, row) for row in rows)
    return buffer.getvalue()


def _cell(value: object) -> object:
    """A cell that no spreadsheet runs as a formula; texts that are numbers stay as they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value[:1] in _FORMULA and not _NUMBER.fullmatch(value):
        return "'" + value
    return value
