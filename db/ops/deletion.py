"""Deleting jobs: a short transaction marks the job, later ones remove its rows.

A deleted job is invisible at once: its state is `deleting`, which the published views and every
query leave out, and its keys are free for a new job. Its rows are removed afterwards, in
transactions so short that SQLite's one writer is never blocked for long. Every step may be
repeated and run by several schedulers, and continues after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import ColumnElement, Table, delete, or_, select, tuple_

from db import schema
from db.database import Database
from db.results import partitions
from db.schema.lifetimes import Lifetime, tables
from db.transaction import Transaction
from jobs.errors import UnavailableError, refuse
from jobs.processes.logs import contained

STEP_SECONDS = 0.25
"""Time for which one call removes rows: what a scheduler spends per tick."""
BATCH_SECONDS = 0.05
"""The target duration of one transaction."""
FIRST_BATCH, LARGEST_BATCH = 1_000, 100_000
FIRST_SUMS = 40
"""The first batch of the sums of shards, which may have half a megabyte each."""

DELETING = """
UPDATE job SET state = 'deleting', dedupe_key = NULL, idempotency_key = NULL
WHERE id = :job_id AND state IN ('succeeded', 'failed', 'cancelled')
"""
"""Make a job invisible; its rows follow, then its own row."""

TO_EMPTY = "SELECT id FROM job WHERE state = 'deleting' ORDER BY id"

DELETED = "DELETE FROM job WHERE id = :job_id AND state = 'deleting'"


_OF_JOBS = (Lifetime.JOB, Lifetime.DETAILS, Lifetime.RUN)


def mark(tx: Transaction, job_id: int) -> bool:
    """Make a final job invisible and delete its small tables; False if it is not final."""
    if not tx.run(DELETING, job_id=job_id).rowcount:
        return False
    # Few rows, without which the views show none of the others.
    for table in tables(*_OF_JOBS, many_rows=False):
        if table is not schema.job:
            tx.execute(delete(table).where(_names(table, job_id)))
    steps = select(schema.study_step.c.study_id)
    tx.execute(delete(schema.study).where(schema.study.c.id.not_in(steps)))
    return True


def end_run(database: Database, job_id: int, seconds: float = STEP_SECONDS) -> bool:
    """Delete what a job needed until its results were merged; False if some is left by then.

    `retention.retain` deletes the rest.
    """
    until = time.monotonic() + seconds
    return remove_rows(database, job_id, tables(Lifetime.RUN), until, first=FIRST_SUMS)


def empty_jobs(database: Database, seconds: float = STEP_SECONDS) -> list[int]:
    """Remove the rows of marked jobs for that long; returns the jobs that are gone now."""
    until = time.monotonic() + seconds
    gone = []
    for job_id in [int(row["id"]) for row in database.rows(TO_EMPTY)]:
        with contained("deleting", job=job_id):
            if not remove_rows(database, job_id, tables(*_OF_JOBS, many_rows=True), until):
                break
            with database.write() as tx:
                tx.run(DELETED, job_id=job_id)
            gone.append(job_id)
    return gone


def remove_rows(
    database: Database,
    job_id: int,
    from_tables: tuple[Table, ...],
    until: float,
    first: int | None = None,
) -> bool:
    """Remove a job's rows until that time; False if some are left.

    first: rows of the first transaction on SQLite; later ones adapt
    """
    if not _drop_partitions(database, job_id, from_tables):
        return False
    # Writers wait for each other on SQLite only.
    size = first or FIRST_BATCH if database.dialect == "sqlite" else LARGEST_BATCH
    while True:
        started = time.monotonic()
        with database.write() as tx:
            if not _delete_batch(tx, from_tables, job_id, size):
                return True
        now = time.monotonic()
        if database.dialect == "sqlite":
            size = min(LARGEST_BATCH, size * 2) if now - started < BATCH_SECONDS else size // 2 + 1
        if now > until:
            return False


def is_pending(database: Database) -> bool:
    """Return True while a deleted job has rows left."""
    return database.value(TO_EMPTY) is not None


def compact(database: Database) -> tuple[int, int]:
    """SQLite: rewrite the file without free pages, and let it shrink from now on.

    Returns its size before and after. Needs as much free disk space and blocks writers. Raises
    InputError on PostgreSQL, which has its own vacuum.
    """
    if database.dialect != "sqlite":
        remedy = "PostgreSQL's autovacuum makes space reusable; VACUUM FULL returns it."
        raise refuse("HEADWISE_DATABASE_URL", None, "is not SQLite", remedy)
    sizes = []
    with database.autocommit() as connection:
        for statement in ("PRAGMA auto_vacuum = INCREMENTAL", "VACUUM", "SELECT 1"):
            pages, size = (
                int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)
                for name in ("page_count", "page_size")
            )
            sizes.append(pages * size)
            connection.exec_driver_sql(statement)
    return sizes[0], sizes[-1]


def give_back(database: Database, until: float) -> bool:
    """SQLite: return free pages to the file system, except for a tenth that new results will fill.

    Stops at that time; returns whether there are more. Files of an early version cannot shrink
    before they are compacted, see `compact`.
    """
    while database.dialect == "sqlite":
        with database.write() as tx:
            free, pages, mode = (
                int(tx.run(f"PRAGMA {name}").scalar() or 0)
                for name in ("freelist_count", "page_count", "auto_vacuum")
            )
            surplus = free - pages // 10
            if mode != _INCREMENTAL or surplus <= 0:
                return False
            steps = min(surplus, _PAGES_PER_STEP)
            # Each fetched row frees a page; SQLAlchemy sees no columns and would fetch none.
            driver = tx.driver_connection
            driver.execute(f"PRAGMA incremental_vacuum({steps})").fetchall()
        if time.monotonic() > until:
            return True
    return False


_INCREMENTAL = 2
_PAGES_PER_STEP = 1_000


def _names(table: Table, job_id: int) -> ColumnElement[bool]:
    """Match the rows that name the job, in `job_id` or in a foreign key."""
    columns = {key.parent for key in table.foreign_keys if key.column is schema.job.c.id}
    return or_(*(column == job_id for column in columns | {table.c.job_id}))


def _delete_batch(tx: Transaction, from_tables: tuple[Table, ...], job_id: int, size: int) -> bool:
    """Delete up to `size` rows in order of the primary keys; returns whether there may be more."""
    for table in from_tables:
        mine = table.c.job_id == job_id
        keys = [column for column in table.primary_key.columns if column.name != "job_id"]
        query = select(*keys).where(mine).order_by(*keys).limit(1).offset(size)
        after = tx.execute(query).first()
        if after is not None:
            mine &= tuple_(*keys) < tuple_(*after)
        size -= tx.execute(delete(table).where(mine)).rowcount
        if size <= 0:
            return True
    return False


def _drop_partitions(database: Database, job_id: int, from_tables: tuple[Table, ...]) -> bool:
    """Drop a job's partitions, or at least free their space; False if one is left."""
    with database.read() as tx:
        own = [table for table in partitions.owned(tx, job_id) if table in from_tables]
    if not own or _unhindered(database, partitions.drop, own, job_id):
        return True
    for table in own:
        _unhindered(database, partitions.truncate, [table], job_id)
    return False


def _unhindered(
    database: Database,
    step: Callable[[Transaction, Table, int], None],
    those: list[Table],
    job_id: int,
) -> bool:
    """Run a step that needs exclusive locks; False if a reader holds one of the tables."""
    try:
        with database.write() as tx:
            for table in those:
                step(tx, table, job_id)
    except UnavailableError as error:
        driver_error = getattr(error.__cause__, "orig", None)
        if getattr(driver_error, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


_LOCK_NOT_AVAILABLE = "55P03"
