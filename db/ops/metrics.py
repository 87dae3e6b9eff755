"""The numbers of /metrics, read from the database in a few queries for the whole fleet."""

from __future__ import annotations

from dataclasses import dataclass

from db.database import Database
from db.ops import attempt_counts, fleet
from db.ops.attempt_counts import Total
from db.ops.fleet import Scheduler, Worker
from jobs.settings import Settings

JOB_STATES = "SELECT state, COUNT(*) FROM job GROUP BY state"

UNFINISHED = """
SELECT j.queue, s.state, COUNT(*) AS n, {clock} - MIN(CASE
    WHEN s.state = 'ready' AND s.available_at <= {clock} AND j.state = 'running'
        AND j.control = 'run'
    THEN CASE WHEN s.available_at > j.started_at THEN s.available_at ELSE j.started_at END
    END) AS oldest
FROM job j JOIN shard s ON s.job_id = j.id
WHERE j.state IN ('planning', 'running', 'paused', 'finalizing', 'cancelling')
GROUP BY j.queue, s.state
"""
"""Shards of unfinished jobs only: those of finished jobs would grow without limit."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers that /metrics shows."""

    jobs: dict[str, int]
    shards: dict[tuple[str, str], int]
    """Of unfinished jobs, by queue and state."""
    oldest: dict[str, float]
    """Seconds that the oldest runnable shard of a queue has waited."""
    totals: list[Total]
    workers: list[Worker]
    schedulers: list[Scheduler]


def read_numbers(database: Database, settings: Settings) -> Numbers:
    """Read all numbers."""
    with database.read() as tx:
        jobs = {state: int(n) for state, n in tx.run(JOB_STATES)}
        unfinished = tx.run(UNFINISHED).all()
        totals = attempt_counts.totals(tx)
    oldest: dict[str, float] = {row.queue: 0.0 for row in unfinished}
    oldest |= {row.queue: max(0.0, row.oldest) for row in unfinished if row.oldest is not None}
    return Numbers(
        jobs=jobs,
        shards={(row.queue, row.state): int(row.n) for row in unfinished},
        oldest=oldest,
        totals=totals,
        workers=fleet.list_workers(database, settings),
        schedulers=fleet.list_schedulers(database, settings),
    )
