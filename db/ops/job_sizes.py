"""Disk space of each job: measured by the scheduler, since counting 10^7 rows takes seconds.

A partition of PostgreSQL knows its size. Elsewhere a few examples, and one block of the sums, are
measured and multiplied: all examples of a job have about as many rows. Small tables are counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Double,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    func,
    select,
    tuple_,
)

from db import schema
from db.database import Database
from db.queue.sql import FINAL
from db.results import partitions
from db.schema.lifetimes import Lifetime, tables
from db.transaction import Transaction
from jobs.states import FINAL_JOB_STATES, JobState

ROW_OVERHEAD = 30
"""Approximate bytes of a row besides its values, including its index entry."""
WINDOW = 20
"""Examples whose rows are measured."""
LOOK_AGAIN_SECONDS = 300
"""Age at which the size of an unfinished job is measured again."""
MOST_AT_ONCE = 20

TO_MEASURE = f"""
SELECT j.id FROM job j LEFT JOIN job_size z ON z.job_id = j.id
WHERE j.state NOT IN ('queued', 'planning', 'deleting') AND NOT j.purging AND (
    z.job_id IS NULL OR z.measured_at < j.finished_at OR z.measured_at < j.purged_at
    OR (j.state NOT IN {FINAL} AND z.measured_at < {{clock}} - :age))
ORDER BY j.id DESC LIMIT :limit
"""  # noqa: S608 - constants of this file
"""Jobs that have changed since they were measured, newest first."""

STORE = """
INSERT INTO job_size (job_id, bytes, details, measured_at)
SELECT id, :bytes, :details, :measured_at FROM job WHERE id = :job_id AND state <> 'deleting'
ON CONFLICT (job_id) DO UPDATE SET bytes = excluded.bytes, details = excluded.details,
    measured_at = excluded.measured_at
"""

UNITS = """
SELECT j.examples, j.block, COUNT(s.shard_no) AS shards, COALESCE(SUM(s.hi - s.lo), 0) AS done
FROM job j LEFT JOIN shard s ON s.job_id = j.id AND s.state = 'done'
WHERE j.id = :job_id GROUP BY j.id, j.examples, j.block
"""

ORDERS = {
    "size": "COALESCE(z.bytes, -1) DESC",
    "details": "COALESCE(z.details, -1) DESC",
    "age": "j.created_at",
    "examples": "j.examples DESC",
    "user": "j.user_name",
}
"""Orders of the list of sizes: largest, most to purge, oldest, most examples, by user."""
SIZES = {
    name: f"""
SELECT j.id, j.kind, j.name, j.user_name AS "user", j.state, j.spec, j.examples, j.created_at,
    j.finished_at, j.purged_at, z.bytes, z.details
FROM job j LEFT JOIN job_size z ON z.job_id = j.id
WHERE j.state <> 'deleting' ORDER BY {order}, j.id DESC LIMIT :limit OFFSET :offset
"""  # noqa: S608 - constants of this file
    for name, order in ORDERS.items()
}
SUMS = """
SELECT COUNT(*) AS jobs, COALESCE(SUM(z.bytes), 0) AS bytes, COALESCE(SUM(z.details), 0) AS details
FROM job j LEFT JOIN job_size z ON z.job_id = j.id WHERE j.state <> 'deleting'
"""


@dataclass(frozen=True, kw_only=True)
class JobSize:
    """A job and the space of its rows."""

    id: int
    kind: str
    name: str
    user: str
    state: JobState
    spec: dict[str, Any]
    examples: int
    created_at: float
    finished_at: float | None
    purged_at: float | None
    bytes: int | None
    """Approximately; None before it was measured."""
    details: int | None
    """Bytes of those that a purge removes."""
    excerpt: str | None = None
    """Not read: lists of sizes name jobs without their texts."""

    @property
    def final(self) -> bool:
        """True once the job has ended, and may be purged and deleted."""
        return self.state in FINAL_JOB_STATES


@dataclass(frozen=True, kw_only=True)
class Whole:
    """The space of all jobs."""

    jobs: int
    bytes: int
    """Of the jobs' rows, approximately."""
    details: int
    database: int
    """Bytes of the whole database, with indexes and free pages."""


def measure(database: Database, seconds: float) -> bool:
    """Measure jobs that have changed for that long; True if there are more."""
    until = time.monotonic() + seconds
    rows = database.rows(TO_MEASURE, age=LOOK_AGAIN_SECONDS, limit=MOST_AT_ONCE)
    found = []
    for row in rows:
        if time.monotonic() > until:
            break
        found.append(_measured(database, row["id"]))
    if found:
        with database.write() as tx:
            tx.run_each(STORE, found)
    return len(found) < len(rows) or len(rows) == MOST_AT_ONCE


def list_sizes(
    database: Database, order: str = "size", *, limit: int = 50, offset: int = 0
) -> list[JobSize]:
    """List jobs in one of ORDERS."""
    rows = database.rows(SIZES[order], limit=limit, offset=offset)
    return [
        JobSize(**{**row, "state": JobState(row["state"]), "spec": json.loads(row["spec"])})
        for row in rows
    ]


def read_whole(database: Database) -> Whole:
    """Read the space of all jobs, and of the database."""
    with database.read() as tx:
        (row,) = tx.rows(SUMS)
        if tx.dialect == "postgresql":
            size = tx.run("SELECT pg_database_size(current_database())").scalar_one()
        else:
            size = 1
            for name in ("page_count", "page_size"):
                size *= tx.run(f"PRAGMA {name}").scalar_one()
    return Whole(database=int(size), **{name: int(value) for name, value in row.items()})


@dataclass(frozen=True, kw_only=True)
class _Units:
    """Numbers that a job's rows are multiples of."""

    examples: int
    done: int
    """Examples with results."""
    sums: int
    """Blocks, or shards in jobs without blocks, with results."""


def _measured(database: Database, job_id: int) -> dict[str, object]:
    """Estimate the size of a job, as a row of the table."""
    sizes = {True: 0, False: 0}
    with database.read() as tx:
        measured_at = tx.now()
        units = _units(tx, job_id)
        for table in tables(Lifetime.JOB, Lifetime.DETAILS, Lifetime.RUN):
            size = partitions.size(tx, table, job_id) or _estimate(tx, table, job_id, units)
            sizes[table.info["lifetime"] is Lifetime.DETAILS] += size
    whole = sizes[True] + sizes[False]
    return {"job_id": job_id, "bytes": whole, "details": sizes[True], "measured_at": measured_at}


def _units(tx: Transaction, job_id: int) -> _Units:
    row = tx.run(UNITS, job_id=job_id).first()
    if row is None:
        return _Units(examples=0, done=0, sums=0)
    done = int(row.done)
    sums = -(-done // row.block) if row.block else int(row.shards)
    return _Units(examples=row.examples, done=done, sums=sums)


def _estimate(tx: Transaction, table: Table, job_id: int, units: _Units) -> int:
    mine = table.c.id == job_id if table is schema.job else table.c.job_id == job_id
    keys = [column for column in table.primary_key.columns if column.name != "job_id"]
    names = [column.name for column in keys]
    if table.info["many_rows"] and "example_no" in names:
        every = units.examples if table is schema.example else units.done
        return _multiplied(tx, table, mine, keys, "example_no", every)
    if table.info["many_rows"] and names[:1] == ["shard_no"]:
        return _multiplied(tx, table, mine, keys, "shard_no", units.sums)
    return _bytes_where(tx, table, mine)


def _multiplied(
    tx: Transaction,
    table: Table,
    mine: ColumnElement[bool],
    keys: Sequence[Column[object]],
    unit: str,
    every: int,
) -> int:
    """Measure the first units of a job and multiply.

    Columns of the key before the unit, such as the source of a value, are multiplied, too: each
    of their values has rows of every unit.
    """
    before = keys[: [column.name for column in keys].index(unit)]
    first = tx.execute(select(*before, table.c[unit]).where(mine).order_by(*keys).limit(1)).first()
    if first is None:
        return 0
    lo, window = first[-1], WINDOW if unit == "example_no" else 1
    part = mine & table.c[unit].between(lo, lo + window - 1)
    for column, value in zip(before, first, strict=False):
        part &= column == value
    size = _bytes_where(tx, table, part)
    return round(size * every / max(1, min(window, every))) * _groups(tx, mine, before)


def _groups(tx: Transaction, mine: ColumnElement[bool], before: Sequence[Column[object]]) -> int:
    """Count the distinct values of the first columns of a key: one step in the index for each."""
    if not before:
        return 1
    count, where = 0, mine
    while count < _MOST_GROUPS:
        row = tx.execute(select(*before).where(where).order_by(*before).limit(1)).first()
        if row is None:
            break
        count += 1
        where = mine & (tuple_(*before) > tuple_(*row))
    return count


_MOST_GROUPS = 2_000


def bytes_of(table: Table) -> ColumnElement[int]:
    """An aggregate: the bytes of rows of a table, from the types and lengths of its values."""
    fixed = sum(_fixed(column.type) for column in table.c) + ROW_OVERHEAD
    size: ColumnElement[int] = func.count() * fixed
    for column in table.c:
        if isinstance(column.type, String | LargeBinary):
            size += func.coalesce(func.sum(func.length(column)), 0)
    return size


def _bytes_where(tx: Transaction, table: Table, where: ColumnElement[bool]) -> int:
    return int(tx.execute(select(bytes_of(table)).where(where)).scalar_one())


def _fixed(kind: object) -> int:
    """Bytes of a value that is neither text nor bytes."""
    if isinstance(kind, Double):
        return 8
    return 4 if isinstance(kind, Integer | Numeric) else 0
