"""Bulk inserts: COPY on PostgreSQL, executemany on SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import REAL, Boolean, Double, Integer, SmallInteger, Table

from db.results.partitions import target
from db.transaction import Transaction

_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_BINARY = {SmallInteger: ">i2", Integer: ">i4", REAL: ">f4", Double: ">f8", Boolean: ">i1"}


def insert_arrays(
    tx: Transaction, table: Table, job_id: int, columns: Mapping[str, NDArray[Any]]
) -> int:
    """Insert numeric columns of equal length; returns the number of rows.

    PostgreSQL receives binary COPY data built from the arrays.
    """
    names = list(columns)
    count = len(columns[names[0]])
    if tx.dialect == "sqlite":
        _executemany(tx, table, names, zip(*(columns[n].tolist() for n in names), strict=True))
        return count
    into = target(tx, table, job_id)
    copy_in = f"COPY {into} ({_listed(names)}) FROM STDIN (FORMAT BINARY)"
    with _cursor(tx) as cursor, cursor.copy(copy_in) as copy:
        for block in (_COPY_HEADER, _binary_rows(table, columns), _COPY_END):
            copy.write(block)
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
        _executemany(tx, table, names, rows)
        return
    into = target(tx, table, job_id)
    copy_in = f"COPY {into} ({_listed(names)}) FROM STDIN"
    with _cursor(tx) as cursor, cursor.copy(copy_in) as copy:
        for row in rows:
            copy.write_row(row)


def _executemany(
    tx: Transaction, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    places = ", ".join("?" * len(names))
    statement = f"INSERT INTO {table.name} ({_listed(names)}) VALUES ({places})"  # noqa: S608
    driver = tx.driver_connection
    driver.executemany(statement, rows)


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
