"""Recurring jobs: submissions made at the times of a cron expression, and their runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update

from db import schema
from db.database import Database
from db.queue import new_jobs
from db.queue.new_jobs import NewJob
from db.transaction import Transaction
from jobs.errors import NotFoundError

DUE = """
SELECT id, cron, zone, submission, next_at, {clock} AS now FROM recurring
WHERE NOT paused AND next_at <= {clock} AND retry_at <= {clock} ORDER BY next_at, id LIMIT 20
"""

TAKE = """
UPDATE recurring SET next_at = :next, retry_at = 0, error = NULL
WHERE id = :id AND next_at = :due AND NOT paused
"""
"""Take an occurrence. No row: another scheduler was faster, or the job was paused meanwhile."""

POSTPONE = """
UPDATE recurring SET retry_at = {clock} + :wait, error = :error
WHERE id = :id AND next_at = :due AND NOT paused
"""

PAUSE_OF_USER = """
UPDATE recurring SET paused = TRUE, next_at = NULL, retry_at = 0, error = :reason
WHERE user_name = :user AND NOT paused RETURNING id
"""

RUNS = """
SELECT r.recurring_id, r.due_at, r.missed_since, r.ran_at, r.job_id, r.error, j.state
FROM recurring_run r LEFT JOIN job j ON j.id = r.job_id AND j.state <> 'deleting'
WHERE r.recurring_id IN :numbers AND (
    SELECT COUNT(*) FROM recurring_run n
    WHERE n.recurring_id = r.recurring_id AND n.due_at > r.due_at) < :most
ORDER BY r.recurring_id, r.due_at DESC
"""
"""The newest runs of recurring jobs, with the states of their jobs."""


RUNS_KEPT = 100
"""Runs that are kept of a recurring job."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """An occurrence of a recurring job, and its outcome."""

    due_at: float
    missed_since: float | None
    """The first of the occurrences before it that no scheduler took."""
    ran_at: float
    job_id: int | None
    error: str | None
    state: str | None
    """The job's state; None if it was deleted or not submitted."""


@dataclass(frozen=True, kw_only=True)
class RecurringJob:
    """A submission that is repeated."""

    id: int
    name: str
    user_name: str
    cron: str
    zone: str
    submission: dict[str, Any]
    paused: bool
    created_at: float
    next_at: float | None
    error: str | None
    """The reason the occurrence that is due was postponed, or the job was paused."""
    runs: tuple[Run, ...] = ()
    """The last runs, newest first."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """A recurring job that is due."""

    id: int
    cron: str
    zone: str
    submission: str
    next_at: float
    now: float


def add(database: Database, values: dict[str, Any]) -> int:
    """Store a recurring job; returns its number."""
    with database.write() as tx:
        row = {**values, "created_at": tx.clock}
        inserted = tx.execute(insert(schema.recurring).values(row))
        return int((inserted.inserted_primary_key or (0,))[0])


def now(database: Database) -> float:
    """Read the database's clock."""
    with database.read() as tx:
        return tx.now()


def find(database: Database, number: int | None = None, runs: int = 5) -> list[RecurringJob]:
    """List recurring jobs, or one of them, with their last runs; the oldest job first."""
    r = schema.recurring
    columns = [column for column in r.c if column.name != "retry_at"]
    query = select(*columns).order_by(r.c.id)
    if number is not None:
        query = query.where(r.c.id == number)
    with database.read() as tx:
        rows = tx.execute(query).mappings().all()
        numbers = [row["id"] for row in rows]
        found: dict[int, list[Run]] = {}
        for run in tx.rows(RUNS, numbers=numbers, most=runs):
            fields = dict(run)
            found.setdefault(fields.pop("recurring_id"), []).append(Run(**fields))
    return [
        RecurringJob(
            **{**row, "submission": json.loads(row["submission"])},
            runs=tuple(found.get(row["id"], ())),
        )
        for row in rows
    ]


def get(database: Database, number: int, runs: int = 5) -> RecurringJob:
    """Get one recurring job. Raises NotFoundError."""
    found = find(database, number, runs)
    if not found:
        raise NotFoundError(f"There is no recurring job {number}.")
    return found[0]


def find_due(database: Database) -> list[Due]:
    """List the recurring jobs that are due."""
    return [Due(**row) for row in database.rows(DUE)]


def take(
    database: Database,
    due: Due,
    when: float,
    next_at: float | None,
    result: NewJob | str,
) -> int | str | None:
    """Write the job of the occurrence `when`, or the error that prevents it, and set `next_at`.

    This is one transaction, so an occurrence is taken once, by the first scheduler; the others get
    None. Returns the job's number or the error.
    """

    def work(tx: Transaction) -> int | str | None:
        values = {"id": due.id, "due": due.next_at, "next": next_at}
        if tx.run(TAKE, **values).rowcount != 1:
            return None
        job = None
        if isinstance(result, NewJob):
            job = new_jobs.write_job(tx, result)
        run = {
            "recurring_id": due.id,
            "due_at": when,
            "missed_since": due.next_at if due.next_at < when else None,
            "ran_at": tx.clock,
            "job_id": job,
            "error": None if isinstance(result, NewJob) else result,
        }
        tx.execute(insert(schema.recurring_run).values(run))
        _delete_old_runs(tx, due.id)
        return result if isinstance(result, str) else job

    return new_jobs.write_jobs(database, work)


def postpone(database: Database, due: Due, seconds: float, error: str) -> None:
    """Try the same occurrence again later: something that the submission needs is unavailable."""
    values = {"id": due.id, "due": due.next_at, "wait": seconds, "error": error}
    with database.write() as tx:
        tx.run(POSTPONE, **values)


def set_paused(database: Database, number: int, next_at: float | None) -> None:
    """Pause (without a next time) or resume with the next time. Raises NotFoundError."""
    r = schema.recurring
    values = {"paused": next_at is None, "next_at": next_at, "retry_at": 0.0, "error": None}
    with database.write() as tx:
        if not tx.execute(update(r).where(r.c.id == number).values(values)).rowcount:
            raise NotFoundError(f"There is no recurring job {number}.")


def pause_of(tx: Transaction, user: str, reason: str) -> list[int]:
    """Pause the recurring jobs of a user; returns their numbers."""
    return sorted(row["id"] for row in tx.rows(PAUSE_OF_USER, user=user, reason=reason))


def remove(database: Database, number: int) -> None:
    """Delete a recurring job; the jobs that it submitted stay. Raises NotFoundError."""
    r = schema.recurring
    with database.write() as tx:
        if not tx.execute(delete(r).where(r.c.id == number)).rowcount:
            raise NotFoundError(f"There is no recurring job {number}.")


def _delete_old_runs(tx: Transaction, number: int) -> None:
    run = schema.recurring_run
    mine = run.c.recurring_id == number
    newest = select(run.c.due_at).where(mine).order_by(run.c.due_at.desc())
    oldest = tx.execute(newest.limit(1).offset(RUNS_KEPT - 1)).scalar()
    if oldest is not None:
        tx.execute(delete(run).where(mine & (run.c.due_at < oldest)))
