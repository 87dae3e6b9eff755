"""Attempts: every claim of a shard by a worker, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import insert

from db.ops import attempt_counts
from db.queue import usage
from db.queue.sql import END_ATTEMPT, OTHERS_OPEN
from db.schema import attempt
from db.transaction import Transaction
from jobs.outcome import AttemptEnd, AttemptOutcome


def begin_attempt(tx: Transaction, key: dict[str, int], worker: Mapping[str, str]) -> None:
    """Store the beginning of an attempt.

    worker: its name, device and versions, by column
    """
    tx.execute(insert(attempt).values({**key, **worker, "started_at": tx.clock}))


def end_attempt(tx: Transaction, key: dict[str, int], end: AttemptEnd) -> None:
    """Store the end of an attempt and count it, unless it has ended before."""
    values = {
        "outcome": end.outcome.value,
        "examples": end.examples,
        "seconds": end.seconds,
        "error": end.error,
    }
    if tx.run(END_ATTEMPT, **key, **values).rowcount:
        attempt_counts.add(tx, key, end)
        usage.add(tx, key)
    if end.outcome is not AttemptOutcome.DONE or not tx.run(OTHERS_OPEN, **key).scalar():
        tx.announce()  # a worker is to be woken, or the job to be finished
