"""Counts of attempts for /metrics, added to in the transaction that ends an attempt."""

from __future__ import annotations

import bisect
import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache

from db.database import Database
from db.transaction import Transaction
from jobs.outcome import AttemptEnd, AttemptOutcome

BOUNDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Upper bounds of the buckets of an attempt's seconds; longer ones are in bucket 10."""
KEPT_SECONDS = 86_400.0

_SUMS = ("attempts", "again", "examples", "failed", "head_scores", "seconds")
_ADD = f"""
ON CONFLICT (source, queue, kind, outcome, bucket) DO UPDATE SET updated_at = excluded.updated_at,
    {", ".join(f"{name} = tally.{name} + excluded.{name}" for name in _SUMS)}
"""
_COLUMNS = f"source, queue, kind, outcome, bucket, {', '.join(_SUMS)}, updated_at"

ADD = f"""
INSERT INTO tally ({_COLUMNS})
SELECT :source, j.queue, j.kind, :outcome, :bucket, 1, :again, :examples, :failed, :head_scores,
    :seconds, {{clock}} FROM job j WHERE j.id = :job_id {_ADD}
"""  # noqa: S608 - constants of this file
ADD_FOLDED = f"""
INSERT INTO tally ({_COLUMNS})
VALUES ('', :queue, :kind, :outcome, :bucket, {", ".join(f":{name}" for name in _SUMS)}, {{clock}})
{_ADD}
"""  # noqa: S608 - constants of this file
GONE = f"""
DELETE FROM tally WHERE source <> '' AND updated_at < {{clock}} - :age
RETURNING queue, kind, outcome, bucket, {", ".join(_SUMS)}
"""  # noqa: S608 - constants of this file
TOTALS = f"""
SELECT queue, kind, outcome, bucket, {", ".join(f"SUM({name}) AS {name}" for name in _SUMS)}
FROM tally GROUP BY queue, kind, outcome, bucket ORDER BY queue, kind, outcome, bucket
"""  # noqa: S608 - constants of this file


@dataclass(frozen=True, kw_only=True)
class Total:
    """Attempts of one queue and kind with one outcome, within one bucket of seconds."""

    queue: str
    kind: str
    outcome: AttemptOutcome
    bucket: int
    attempts: int
    again: int
    """Attempts that were not the first of their shard."""
    examples: int
    failed: int
    head_scores: int
    seconds: float


def add(tx: Transaction, key: dict[str, int], end: AttemptEnd) -> None:
    """Count the end of an attempt."""
    seconds = end.seconds or 0.0
    tx.run(
        ADD,
        source=_source(os.getpid()),
        job_id=key["job_id"],
        outcome=end.outcome.value,
        bucket=bisect.bisect_left(BOUNDS, seconds),
        again=int(key["fence"] > 1),
        examples=end.examples or 0,
        failed=end.failed,
        head_scores=end.head_scores,
        seconds=seconds,
    )


def fold(database: Database, age: float = KEPT_SECONDS) -> None:
    """Merge the rows of processes that have counted nothing for `age` seconds."""
    with database.write() as tx:
        gone = tx.rows(GONE, age=age)
        # Always in the same order, so that two schedulers do not deadlock.
        for row in sorted(gone, key=lambda row: tuple(row.values())[:4]):
            tx.run(ADD_FOLDED, **row)


def totals(tx: Transaction) -> list[Total]:
    """Read the counts of all processes."""
    whole = ("attempts", "again", "examples", "failed", "head_scores")
    return [
        Total(
            **{
                **row,
                **{name: int(row[name]) for name in whole},
                "outcome": AttemptOutcome(row["outcome"]),
            }
        )
        for row in tx.rows(TOTALS)
    ]


@cache
def _source(pid: int) -> str:
    return f"{socket.gethostname()}-{pid}-{uuid.uuid4().hex[:6]}"
