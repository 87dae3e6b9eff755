"""Limits on the unfinished jobs of a user."""

from __future__ import annotations

from dataclasses import dataclass

from db.queue.sql import FINAL
from db.transaction import Transaction
from jobs.errors import LimitError, Problem

UNFINISHED = f"""
SELECT COUNT(*), COALESCE(SUM(j.examples - COALESCE((
    SELECT SUM(s.hi - s.lo) FROM shard s
    WHERE s.job_id = j.id AND s.state IN ('done', 'failed', 'cancelled')), 0)), 0)
FROM job j WHERE j.user_name = :user AND j.state NOT IN {FINAL} AND j.state <> 'deleting'
"""  # noqa: S608 - constants of this file
"""A user's unfinished jobs, and their waiting examples."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Most unfinished jobs of a user, and most examples waiting in them; 0 for no limit."""

    jobs: int = 0
    examples: int = 0


def enforce(tx: Transaction, limits: Limits, user: str, examples: int) -> None:
    """Raise LimitError if another job of `examples` examples exceeded its user's limits.

    The check is exact within a write transaction: two submissions of a user wait for each other.
    """
    if not limits.jobs and not limits.examples:
        return
    if tx.dialect == "postgresql":
        tx.run("SELECT pg_advisory_xact_lock(7230, hashtext(:user))", user=user)
    jobs, waiting = tx.run(UNFINISHED, user=user).one()
    if limits.jobs and jobs >= limits.jobs:
        message = f"{user} already has {jobs:,} unfinished jobs; the limit is {limits.jobs:,}"
        remedy = "Wait for one to end or cancel one, or raise HEADWISE_MAX_JOBS_PER_USER."
        raise LimitError(Problem(field="user", value=user, message=message, remedy=remedy))
    if limits.examples and waiting + examples > limits.examples:
        message = (
            f"{user} has {waiting:,} examples waiting; the {examples:,} of this job would exceed "
            f"the limit of {limits.examples:,}"
        )
        remedy = (
            "Wait for a job to end, take fewer rows (data.limit), or raise "
            "HEADWISE_MAX_QUEUED_EXAMPLES_PER_USER."
        )
        raise LimitError(Problem(field="user", value=user, message=message, remedy=remedy))
