"""How much one user may have unfinished at once."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.queue.sql import UNFINISHED
from jobs.errors import LimitError, Problem


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Most unfinished jobs of a user, and most examples waiting in them; 0 is no limit."""

    jobs: int = 0
    examples: int = 0


def enforce(connection: Connection, limits: Limits, user: str, examples: int) -> None:
    """Raise LimitError where another job of `examples` examples would be too much for its user.

    Within a write transaction it holds, as two submissions of one user wait for each other.
    """
    if not limits.jobs and not limits.examples:
        return
    if connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(7230, hashtext(:user))")
        connection.execute(lock, {"user": user})
    jobs, waiting = connection.execute(text(UNFINISHED), {"user": user}).one()
    if limits.jobs and jobs >= limits.jobs:
        message = f"{user} has {jobs:,} unfinished jobs, and may have {limits.jobs:,}"
        remedy = "Wait for one to end or cancel one, or raise HEADWISE_MAX_JOBS_PER_USER."
        raise LimitError(Problem(field="user", value=user, message=message, remedy=remedy))
    if limits.examples and waiting + examples > limits.examples:
        message = (
            f"{user} has {waiting:,} examples waiting; with the {examples:,} of this job they are "
            f"more than {limits.examples:,}"
        )
        remedy = (
            "Wait for a job to end, take fewer rows (data.limit), or raise "
            "HEADWISE_MAX_QUEUED_EXAMPLES_PER_USER."
        )
        raise LimitError(Problem(field="user", value=user, message=message, remedy=remedy))
