"""Bulk inserts: COPY on PostgreSQL, statements of many rows on SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import REAL, Boolean, Double, Integer, SmallInteger, Table

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


def insert_arrays(
    tx: Transaction, table: Table, job_id: int, columns: Mapping[str, NDArray[Any]]
) -> int:
    """Insert numeric columns of equal length; returns the number of rows.

    PostgreSQL receives binary COPY data built from the arrays.
    """
    names = list(columns)
    count = len(columns[names[0]])
    parts = [
        {name: values[start : start + _ROWS_AT_ONCE] for name, values in columns.items()}
        for start in range(0, count, _ROWS_AT_ONCE)
    ]
    if tx.dialect == "sqlite":
        for part in parts:
            _insert(tx, table, names, zip(*(part[n].tolist() for n in names), strict=True))
        return count
    into = target(tx, table, job_id)
    copy_in = f"COPY {into} ({_listed(names)}) FROM STDIN (FORMAT BINARY)"
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


def _binary_rows(table: Table, columns: Mapping[str, NDArray[Any]]) -> memoryview:
    """Encode rows in PostgreSQL's binary COPY format: field count, then lengths and values."""
    kinds = {name: _BINARY[type(table.c[name].type)] for name in columns}
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in kinds.items():
        fields += [(f"{name}_bytes", ">i4"), (name, kind)]
    rows = np.empty(len(next(iter(columns.values()))), dtype=np.dtype(fields))
    rows["fields"] = len(columns)
    for name, kind in kinds.items():
        rows[f"{name}_bytes"] = np.dtype(kind).itemsize
        rows[name] = columns[name]
    return memoryview(rows.tobytes())
