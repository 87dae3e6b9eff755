"""Cursors: where a page of a list begins, opaque to clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import request, url_for

from jobs.errors import InputError, refuse
from webui.contract.models import PageQuery

Row = TypeVar("Row")


def encode(*place: str | float) -> str:
    """The cursor of a place in a list."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def number(cursor: str) -> int | None:
    """The number that a cursor of numbered rows names; None for the start. Raises InputError."""
    if not cursor:
        return None
    (found,) = _decoded(cursor, 1)
    return _number(cursor, found)


def numbers(cursor: str) -> tuple[int, int] | None:
    """The two numbers that a cursor names; None for the start. Raises InputError."""
    if not cursor:
        return None
    first, second = _decoded(cursor, 2)
    return _number(cursor, first), _number(cursor, second)


def triple(cursor: str) -> tuple[int, int, int] | None:
    """The three numbers that a cursor names; None for the start. Raises InputError."""
    if not cursor:
        return None
    first, second, third = _decoded(cursor, 3)
    return _number(cursor, first), _number(cursor, second), _number(cursor, third)


def place(cursor: str, *, texts: bool, name: str = "cursor") -> tuple[str | float, int] | None:
    """The value and the number that a cursor of a sorted list names; None for the start.

    texts: the list is sorted by texts, not by numbers
    name: of the parameter, for messages

    Raises InputError.
    """
    if not cursor:
        return None
    value, found = _decoded(cursor, 2, name)
    good = _is_text(value) if texts else _is_number(value)
    if not good:
        raise _refused(cursor, name)
    return value, _number(cursor, found, name)  # type: ignore[return-value]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= MOST_CHARACTERS


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 2**53  # type: ignore[arg-type]


MOST_CHARACTERS = 300
"""Characters of a text in a cursor."""


def text(cursor: str) -> str:
    """The text that a cursor names; empty for the start. Raises InputError."""
    if not cursor:
        return ""
    (found,) = _decoded(cursor, 1)
    if not isinstance(found, str):
        raise _refused(cursor)
    return found


def _number(cursor: str, found: object, name: str = "cursor") -> int:
    if type(found) is not int or not -1 <= found < 2**31:
        raise _refused(cursor, name)
    return found


def _decoded(cursor: str, length: int, name: str = "cursor") -> list[object]:
    try:
        found = json.loads(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        )
    except (ValueError, RecursionError):
        raise _refused(cursor, name) from None
    if not isinstance(found, list) or len(found) != length:
        raise _refused(cursor, name)
    return found


def _refused(cursor: str, name: str = "cursor") -> InputError:
    remedy = "Take it from `next` of the page before, or leave it out."
    return refuse(name, cursor, "is not a cursor of this list", remedy)


def slice_rows(rows: Sequence[Row], cursor: str, limit: int) -> tuple[Sequence[Row], str | None]:
    """The page of rows that are all at hand, and the address of the next one."""
    start = max(0, number(cursor) or 0)
    end = start + limit
    return rows[start:end], next_page(end) if end < len(rows) else None


def page_after(
    rows: Sequence[Row], query: PageQuery, key: Callable[[Row], str | int], *, texts: bool = False
) -> tuple[Sequence[Row], str | None]:
    """The page of rows in the order of their keys, and the address of the next one.

    It holds its place while rows come and go.

    key: of a row; a number, or a text where `texts` is true
    """
    after = text(query.cursor) if texts else number(query.cursor)
    rest = [row for row in rows if not after or key(row) > after]  # type: ignore[operator]
    return cut(rest, query.limit, lambda row: (key(row),))


def cut(
    rows: Sequence[Row], limit: int, place: Callable[[Row], tuple[str | float, ...]]
) -> tuple[Sequence[Row], str | None]:
    """The page of rows that were read to one beyond it, and the address of the next one.

    place: the numbers or texts of the cursor behind a row
    """
    shown = rows[:limit]
    return shown, next_page(*place(shown[-1])) if len(rows) > limit else None


def first_page() -> str:
    """The address of the list from its start."""
    kept = {name: one for name, one in request.args.items() if name not in _PLACES}
    values: dict[str, Any] = {**kept, **(request.view_args or {})}
    return url_for(request.endpoint or "", **values)


def next_page(*place: str | float) -> str:
    """The address of the page of the same list that begins at a place."""
    address = first_page()
    return f"{address}{'&' if '?' in address else '?'}cursor={encode(*place)}"


_PLACES = ("cursor", "offset", "after")
