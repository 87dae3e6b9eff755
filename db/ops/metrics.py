"""The numbers of /metrics, read from the database in a few queries for the whole fleet."""

from __future__ import annotations

from dataclasses import dataclass

from db.database import Database
from db.ops import attempt_counts, conditions
from db.ops.attempt_counts import Total
from db.ops.conditions import Level, Seen, Subject
from jobs.processes.report import measure
from jobs.settings import Settings

RECENT_SECONDS = 3_600.0
JOB_STATES = """
SELECT state, COUNT(*) AS n,
    SUM(CASE WHEN finished_at > {clock} - :recent THEN 1 ELSE 0 END) AS ended
FROM job GROUP BY state
"""

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
    ended: dict[str, int]
    """Jobs that ended within the last hour, by state."""
    shards: dict[tuple[str, str], int]
    """Of unfinished jobs, by queue and state."""
    oldest: dict[str, float]
    """Seconds that the oldest runnable shard of a queue has waited."""
    totals: list[Total]
    seen: Seen
    levels: dict[Subject, Level]
    """Of all conditions."""


def read_numbers(database: Database, settings: Settings) -> Numbers:
    """Read all numbers."""
    with database.read() as tx:
        states = tx.run(JOB_STATES, recent=RECENT_SECONDS).all()
        unfinished = tx.run(UNFINISHED).all()
        totals = attempt_counts.totals(tx)
    seen = conditions.look(database, settings, measure(settings))
    oldest: dict[str, float] = {row.queue: 0.0 for row in unfinished}
    oldest |= {row.queue: max(0.0, row.oldest) for row in unfinished if row.oldest is not None}
    return Numbers(
        jobs={row.state: int(row.n) for row in states},
        ended={row.state: int(row.ended) for row in states},
        shards={(row.queue, row.state): int(row.n) for row in unfinished},
        oldest=oldest,
        totals=totals,
        seen=seen,
        levels=conditions.worst(conditions.judge(database, settings, seen)),
    )
