"""Writing new jobs with their examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import false, insert, select

from db import schema
from db.database import WRITTEN_BY_ANOTHER, Database
from db.queue.examples import ExampleRow, insert_examples
from db.queue.limits import Limits, enforce
from db.transaction import Transaction
from jobs.states import FINAL_JOB_STATES, JobState

R = TypeVar("R")
NO_LIMITS = Limits()
TELL = """
INSERT INTO job_recipient (job_id, recipient_id) VALUES (:job_id, :recipient_id)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to be written."""

    values: Mapping[str, Any]
    """Column values of the job's row."""
    examples: Iterable[ExampleRow] | None
    """Read once for each try to write them. None if they are loaded when the job is planned."""
    parents: Sequence[int] = ()
    limits: Limits = NO_LIMITS
    """Its user's limits."""
    deadline_seconds: float | None = None
    """Seconds from now until its deadline."""
    recipients: Sequence[int] = ()
    """Recipients that are told when it ends."""
    reuse_since: float | None = None
    """A succeeded job with the same results that was planned after this time is taken instead."""


def create_job(
    database: Database,
    values: Mapping[str, Any],
    examples: Sequence[ExampleRow] | None,
    parents: Sequence[int] = (),
) -> int:
    """Insert a job and its examples, if given, in one transaction; returns the job's number.

    Returns the existing job if one has the same idempotency key, or has the same dedupe key and is
    not final.
    """
    job = NewJob(values=values, examples=examples, parents=parents)
    return write_jobs(database, lambda tx: write_job(tx, job))


def write_jobs(database: Database, work: Callable[[Transaction], R]) -> R:
    """Run `work`, which calls `write_job`, in one transaction.

    It is repeated if another process has just written one of the same jobs.
    """
    for last in (False, False, True):
        try:
            with database.write() as tx:
                return work(tx)
        except WRITTEN_BY_ANOTHER:
            if last:
                raise
    raise AssertionError("the last try returns or raises")


def write_job(tx: Transaction, job: NewJob) -> int:
    """Insert a job within a transaction, or find the existing one to take instead."""
    existing = find_job(tx, job.values)
    if existing is None and job.reuse_since is not None:
        existing = find_results(tx, job.values, job.reuse_since)
    if existing is not None:
        tell(tx, existing, job.recipients)
        return existing
    enforce(tx, job.limits, job.values["user_name"], job.values["examples"])
    row = {**job.values, "created_at": tx.clock}
    if job.deadline_seconds is not None:
        row["deadline_at"] = tx.now() + job.deadline_seconds
    inserted = tx.execute(insert(schema.job).values(row))
    job_id = int((inserted.inserted_primary_key or (0,))[0])
    if job.examples is not None:
        insert_examples(tx, job_id, job.examples)
    if job.parents:
        rows = [{"job_id": job_id, "parent_id": parent} for parent in sorted(set(job.parents))]
        tx.execute(insert(schema.job_parent), rows)
    tell(tx, job_id, job.recipients)
    tx.announce()
    return job_id


def tell(tx: Transaction, job_id: int, recipients: Sequence[int]) -> None:
    """Ask for these recipients to be told when a job ends; those of before stay."""
    rows = [{"job_id": job_id, "recipient_id": one} for one in sorted(set(recipients))]
    if rows:
        tx.run_each(TELL, rows)


def find_job(tx: Transaction, values: Mapping[str, Any]) -> int | None:
    """Find the job that `values` would duplicate: an unfinished one, or one with the same key."""
    job = schema.job.c
    alike = false()
    if (key := values["dedupe_key"]) is not None:
        alike |= (job.dedupe_key == key) & job.state.not_in(FINAL_JOB_STATES)
    if (key := values["idempotency_key"]) is not None:
        alike |= (job.user_name == values["user_name"]) & (job.idempotency_key == key)
    found = tx.execute(select(job.id).where(alike)).scalar()
    return None if found is None else int(found)


def find_results(tx: Transaction, values: Mapping[str, Any], since: float) -> int | None:
    """Find the newest succeeded job with the same specification and data, planned after `since`.

    Data that is loaded by planning has no fingerprint yet, so no job is known to be the same.
    """
    job = schema.job.c
    if values["data_fingerprint"] is None:
        return None
    same = (job.spec_hash == values["spec_hash"]) & (
        job.data_fingerprint == values["data_fingerprint"]
    )
    whole = (job.state == JobState.SUCCEEDED) & job.purged_at.is_(None)
    query = select(job.id).where(same & whole & (job.started_at > since))
    found = tx.execute(query.order_by(job.id.desc()).limit(1)).scalar()
    return None if found is None else int(found)
