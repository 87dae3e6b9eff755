"""Bulk inserts: COPY on PostgreSQL, statements of many rows on SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import REAL, Boolean, Double, Integer, SmallInteger, Table
from sqlalchemy.types import TypeEngine

from db.results.partitions import target
from db.transaction import Transaction

_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_MOST_VALUES = 720
"""Values of one statement on SQLite: more make it no faster, and old builds take 999."""
_ROWS_AT_ONCE = 7_200
"""Rows of arrays that are converted at a time. More would keep a thread that computes waiting for
Python's lock, and take memory."""
_BINARY = {SmallInteger: ">i2", Integer: ">i4", REAL: ">f4", Double: ">f8", Boolean: ">i1"}
_NULL = b"\xff\xff\xff\xff"
"""The length of a value that is null."""

Columns = Mapping[str, NDArray[Any] | Sequence[Any]]
"""Columns of equal length by name: arrays of numbers, or sequences of texts, bytes, whole numbers
and nulls."""


def insert_columns(tx: Transaction, table: Table, job_id: int, columns: Columns) -> int:
    """Insert columns of equal length; returns the number of rows.

    PostgreSQL receives binary COPY data: numbers as the bytes of arrays, without an object for
    each, and texts as they are, without quoting.
    """
    # Arrays first: of a row, their values are then one piece.
    ordered = sorted(columns, key=lambda name: not isinstance(columns[name], np.ndarray))
    count = len(columns[ordered[0]])
    parts = [
        {name: columns[name][start : start + _ROWS_AT_ONCE] for name in ordered}
        for start in range(0, count, _ROWS_AT_ONCE)
    ]
    if tx.dialect == "sqlite":
        for part in parts:
            _insert(tx, table, ordered, zip(*map(_listed_values, part.values()), strict=True))
        return count
    into = target(tx, table, job_id)
    copy_in = f"COPY {into} ({_listed(ordered)}) FROM STDIN (FORMAT BINARY)"
    with _cursor(tx) as cursor, cursor.copy(copy_in) as copy:
        copy.write(_COPY_HEADER)
        for part in parts:
            copy.write(_binary_rows(table, part))
        copy.write(_COPY_END)
    return count


def insert_rows(
    tx: Transaction,
    table: Table,
    job_id: int,
    names: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Insert rows that contain texts or nulls."""
    if tx.dialect == "sqlite":
        _insert(tx, table, names, rows)
        return
    into = target(tx, table, job_id)
    copy_in = f"COPY {into} ({_listed(names)}) FROM STDIN"
    with _cursor(tx) as cursor, cursor.copy(copy_in) as copy:
        for row in rows:
            copy.write_row(row)


def _insert(
    tx: Transaction, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert on SQLite, many rows with each statement: that takes two thirds of the time."""
    into = f"INSERT INTO {table.name} ({_listed(names)}) VALUES "  # noqa: S608
    row = f"({', '.join('?' * len(names))})"
    size = max(1, _MOST_VALUES // len(names))
    statement = into + ", ".join([row] * size)
    driver, left = tx.driver_connection, iter(rows)
    while batch := list(islice(left, size)):
        if len(batch) < size:
            statement = into + ", ".join([row] * len(batch))
        driver.execute(statement, list(chain.from_iterable(batch)))


def _cursor(tx: Transaction) -> Any:
    driver = tx.driver_connection
    return driver.cursor()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _listed_values(values: NDArray[Any] | Sequence[Any]) -> Sequence[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _binary_rows(table: Table, columns: Columns) -> bytes:
    """Encode rows in PostgreSQL's binary COPY format: field count, then lengths and values."""
    arrays = {name: v for name, v in columns.items() if isinstance(v, np.ndarray)}
    kinds = {name: _BINARY[type(table.c[name].type)] for name in arrays}
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in kinds.items():
        fields += [(f"{name}_bytes", ">i4"), (name, kind)]
    count = len(next(iter(columns.values())))
    rows = np.empty(count, dtype=np.dtype(fields))
    rows["fields"] = len(columns)
    for name, kind in kinds.items():
        rows[f"{name}_bytes"] = np.dtype(kind).itemsize
        rows[name] = arrays[name]
    numbers, width = rows.tobytes(), rows.itemsize
    others = [
        map(_Encoded(table.c[name].type).__getitem__, values)
        for name, values in columns.items()
        if name not in arrays
    ]
    if not others:
        return numbers
    begins = (numbers[place : place + width] for place in range(0, len(numbers), width))
    return b"".join(chain.from_iterable(zip(begins, *others, strict=True)))


class _Encoded(dict[Any, bytes]):
    """Values of a type with their lengths before them, each made once: tokens come many times."""

    def __init__(self, kind: TypeEngine[Any]) -> None:
        self[None] = _NULL
        number = _BINARY.get(type(kind))
        self.size = 0 if number is None else np.dtype(number).itemsize

    def __missing__(self, value: str | bytes | int) -> bytes:
        if isinstance(value, int):
            data = value.to_bytes(self.size, "big", signed=True)
        else:
            data = value.encode() if isinstance(value, str) else value
        self[value] = encoded = len(data).to_bytes(4, "big") + data
        return encoded
