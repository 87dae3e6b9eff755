"""Retention: deleting jobs, or purging only their details, when their time is over.

Details are everything per example: scores, values, token pairs, predictions, and texts. Importance,
rankings, curves, triggers and their rates stay, and so do the hashes of texts, by which later jobs
recognise the examples that they share. A job is deleted when its own days or the installation's are
over, unless it is needed by something that stays: a job that names it, or a study it is a step of.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from sqlalchemy import delete, func, or_, select, tuple_, update

from db import schema
from db.database import Database
from db.ops import deletion, job_sizes
from db.queue.sql import FINAL
from db.results import partitions
from db.schema.lifetimes import Lifetime, cleared_columns, tables
from db.transaction import Transaction
from jobs.errors import ConflictError, NotFoundError
from jobs.processes.logs import contained
from jobs.settings import Retention


def _over(job: str, days: str, default: str) -> str:
    """Match jobs that ended longer ago than their own days, or else the installation's."""
    limit = f"COALESCE({job}.{days}, :{default})"
    return (
        f"({job}.state IN {FINAL} AND {limit} > 0 "
        f"AND {job}.finished_at < {{clock}} - 86400 * {limit})"
    )


_GOES, _OTHER_GOES = _over("j", "keep_days", "keep_days"), _over("q", "keep_days", "keep_days")

DUE = f"""
SELECT j.id, j.name FROM job j
WHERE {_GOES} AND NOT EXISTS (
    SELECT 1 FROM job_parent p JOIN job q ON q.id = p.job_id
    WHERE p.parent_id = j.id AND NOT {_OTHER_GOES})
  AND NOT EXISTS (
    SELECT 1 FROM study_step a JOIN study_step b ON b.study_id = a.study_id
    JOIN job q ON q.id = b.job_id WHERE a.job_id = j.id AND NOT {_OTHER_GOES})
ORDER BY j.id
"""  # noqa: S608 - constants of this file
"""Jobs whose time is over, except those needed by a job or study that stays."""

_NEEDED = f"""EXISTS (
    SELECT 1 FROM job_parent p JOIN job q ON q.id = p.job_id
    WHERE p.parent_id = j.id AND q.state NOT IN {FINAL}) OR EXISTS (
    SELECT 1 FROM study_step a JOIN study_step b ON b.study_id = a.study_id
    JOIN job q ON q.id = b.job_id WHERE a.job_id = j.id AND q.state NOT IN {FINAL})"""  # noqa: S608 - constants of this file

DUE_DETAILS = f"""
SELECT j.id, j.name FROM job j
WHERE j.purged_at IS NULL AND {_over("j", "detail_days", "keep_details_days")} AND NOT ({_NEEDED})
ORDER BY j.id
"""  # noqa: S608 - constants of this file
"""Jobs whose details are due, except those that an unfinished job or study may still read."""

PURGE = f"""
UPDATE job AS j SET purged_at = {{clock}}, purging = TRUE
WHERE id = :job_id AND j.purged_at IS NULL AND j.state IN {FINAL} AND NOT ({_NEEDED})
"""  # noqa: S608 - constants of this file
"""Hide a job's details; their rows follow."""

TO_PURGE = "SELECT id FROM job WHERE purging AND state <> 'deleting' ORDER BY id"

PURGED = "UPDATE job SET purging = FALSE WHERE id = :job_id"

TEXTS_NOT_KEPT = """
SELECT j.id FROM job j
WHERE j.state IN ('failed', 'cancelled') AND j.spec LIKE :keeps_no_text
  AND j.finished_at > {clock} - 86400
  AND EXISTS (SELECT 1 FROM example e WHERE e.job_id = j.id AND e.text_a IS NOT NULL)
ORDER BY j.id
"""
"""Jobs that keep no text and ended before all of their examples were computed."""
KEEPS_NO_TEXT = '%"keep_text":false%'
"""Matches the specifications of jobs that keep no text."""


_HAS_SUMS = " OR ".join(
    f"EXISTS (SELECT 1 FROM {table.name} t WHERE t.job_id = j.id)"  # noqa: S608 - a table's name
    for table in tables(Lifetime.RUN)
)
MERGED = f"""
SELECT j.id FROM job j
WHERE j.state IN ('succeeded', 'failed') AND j.finished_at > {{clock}} - 86400 AND ({_HAS_SUMS})
ORDER BY j.id
"""  # noqa: S608 - constants of this file
"""Jobs whose results are merged, and which still have what that took."""

_MARKED_AT_ONCE = 20


@dataclass(frozen=True, kw_only=True)
class Due:
    """A job to delete or purge, and the space that this frees."""

    job_id: int
    name: str
    whole: bool
    """True if the job itself is deleted, False if only its details are."""
    rows: int
    size: int
    """Approximate bytes; exact for a job with its own partitions."""


def find_due(database: Database, kept: Retention) -> list[Due]:
    """Find the jobs that `retain` would delete or purge, without writing."""
    with database.read() as tx:
        whole = tx.run(DUE, **asdict(kept)).all()
        gone = {row.id for row in whole}
        details = tx.run(DUE_DETAILS, **asdict(kept)).all()
        found = [(row, True) for row in whole]
        found += [(row, False) for row in details if row.id not in gone]
        return [_measured(tx, row.id, row.name, every) for row, every in found]


def find_details(database: Database, job_id: int) -> Due:
    """Find out what purging this job's details would free. Raises NotFoundError."""
    with database.read() as tx:
        j = schema.job.c
        query = select(j.name).where((j.id == job_id) & (j.state != "deleting"))
        name = tx.execute(query).scalar()
        if name is None:
            raise NotFoundError(f"There is no job {job_id}.")
        return _measured(tx, job_id, name, whole=False)


def retain(database: Database, kept: Retention, seconds: float = deletion.STEP_SECONDS) -> bool:
    """Mark the jobs that are due and remove details for that long; whether there is more to do.

    The rows of deleted jobs are removed by `deletion.empty_jobs`.
    """
    with database.read() as tx:
        due = tx.run(DUE, **asdict(kept)).first()
        details = tx.run(DUE_DETAILS, **asdict(kept)).first()
    marked = 0
    if due or details:
        with database.write() as tx:
            for row in tx.run(DUE, **asdict(kept)).all()[:_MARKED_AT_ONCE]:
                marked += deletion.mark(tx, row.id)
            rows = tx.run(DUE_DETAILS, **asdict(kept)).all()
            for row in rows[:_MARKED_AT_ONCE]:
                marked += _mark(tx, row.id)
    removed = (
        remove_details(database, seconds)
        and remove_texts(database, seconds)
        and remove_sums(database, seconds)
    )
    return not removed or marked > 0


def purge(database: Database, job_id: int) -> None:
    """Purge the details of a final job now. Raises NotFoundError or ConflictError."""
    find_details(database, job_id)
    with database.write() as tx:
        if not _mark(tx, job_id):
            message = f"Job {job_id} is not finished, needed by one that is not, or purged already."
            raise ConflictError(message)


def _mark(tx: Transaction, job_id: int) -> bool:
    if not tx.run(PURGE, job_id=job_id).rowcount:
        return False
    for table in tables(Lifetime.DETAILS, many_rows=False):
        tx.execute(delete(table).where(table.c.job_id == job_id))
    return True


def remove_details(database: Database, seconds: float) -> bool:
    """Remove the details of marked jobs for that long; False if some are left."""
    until = time.monotonic() + seconds
    details = tables(Lifetime.DETAILS, many_rows=True)
    for job_id in [int(row["id"]) for row in database.rows(TO_PURGE)]:
        with contained("purging", job=job_id):
            if not (
                deletion.remove_rows(database, job_id, details, until)
                and _clear_columns(database, job_id, until)
            ):
                return False
            with database.write() as tx:
                tx.run(PURGED, job_id=job_id)
    return True


def remove_texts(database: Database, seconds: float) -> bool:
    """Remove the texts of jobs that keep none, where no result took their place.

    The transaction that stores a result removes its text. Those of a job that failed or was
    cancelled are removed here. Returns False if some are left after that time.
    """
    until = time.monotonic() + seconds
    ended = database.rows(TEXTS_NOT_KEPT, keeps_no_text=KEEPS_NO_TEXT)
    return all(_clear_columns(database, row["id"], until) for row in ended)


def remove_sums(database: Database, seconds: float) -> bool:
    """Remove what jobs needed until their results were merged, where their end left some.

    Returns False if some is left after that time.
    """
    until = time.monotonic() + seconds
    ended = database.rows(MERGED)
    return all(deletion.end_run(database, row["id"], until - time.monotonic()) for row in ended)


def _clear_columns(database: Database, job_id: int, until: float) -> bool:
    """Set the columns that are details to null until that time; False if some are left."""
    for table, columns in cleared_columns().items():
        left = or_(*(column.is_not(None) for column in columns)) & (table.c.job_id == job_id)
        keys = [column for column in table.primary_key.columns if column.name != "job_id"]
        query = select(*keys).where(left).order_by(*keys).limit(1).offset(deletion.FIRST_BATCH)
        nulls = {column.key: None for column in columns}
        more = True
        while more:
            with database.write() as tx:
                after = tx.execute(query).first()
                more = after is not None
                batch = left & (tuple_(*keys) < tuple_(*after)) if after is not None else left
                tx.execute(update(table).where(batch).values(nulls))
            if more and time.monotonic() > until:
                return False
    return True


def _measured(tx: Transaction, job_id: int, name: str, whole: bool) -> Due:
    rows = size = 0
    details = tables(Lifetime.DETAILS, many_rows=True)
    for table in (*details, schema.example) if whole else details:
        query = select(func.count(), job_sizes.bytes_of(table)).where(table.c.job_id == job_id)
        count, size_of_rows = tx.execute(query).one()
        rows += count
        size += partitions.size(tx, table, job_id) or int(size_of_rows)
    return Due(job_id=job_id, name=name, whole=whole, rows=rows, size=size)
