"""Adding up how attempts end, in the transaction that ends them."""

from __future__ import annotations

import bisect
import os
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

from db.database import Database
from db.transaction import Transaction

BOUNDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Upper bounds of the histogram of a shard's seconds; what is longer has bucket 10."""
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
    """How often attempts of a queue and kind ended in one way, within one bucket of seconds."""

    queue: str
    kind: str
    outcome: str
    """done, error, lost or handed-back."""
    bucket: int
    attempts: int
    again: int
    """Those that were not the first of their shard."""
    examples: int
    failed: int
    head_scores: int
    seconds: float


def add(
    tx: Transaction,
    key: dict[str, int],
    *,
    outcome: str,
    examples: int | None,
    failed: int,
    head_scores: int,
    seconds: float | None,
) -> None:
    """Count the end of an attempt."""
    values: dict[str, Any] = {
        "source": _source(os.getpid()),
        "job_id": key["job_id"],
        "outcome": outcome,
        "bucket": bisect.bisect_left(BOUNDS, seconds or 0.0),
        "again": int(key["fence"] > 1),
        "examples": examples or 0,
        "failed": failed,
        "head_scores": head_scores,
        "seconds": seconds or 0.0,
    }
    tx.run(ADD, **values)


def fold(database: Database, age: float = KEPT_SECONDS) -> None:
    """Add up the rows of processes that have counted nothing for `age` seconds."""
    with database.write() as tx:
        gone = [dict(row) for row in tx.run(GONE, age=age).mappings()]
        # In one order: two schedulers must not wait for each other.
        for row in sorted(gone, key=lambda row: tuple(row.values())[:4]):
            tx.run(ADD_FOLDED, **row)


def totals(tx: Transaction) -> list[Total]:
    """Everything that was counted."""
    rows = tx.run(TOTALS).mappings()
    whole = ("attempts", "again", "examples", "failed", "head_scores")
    return [Total(**{**row, **{name: int(row[name]) for name in whole}}) for row in rows]


@cache
def _source(pid: int) -> str:
    return f"{socket.gethostname()}-{pid}-{uuid.uuid4().hex[:6]}"
