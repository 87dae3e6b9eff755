"""The history of a worker: the attempts that it made."""

from __future__ import annotations

from dataclasses import dataclass

from db.database import Database
from jobs.outcome import AttemptOutcome

ATTEMPTS = """
SELECT a.job_id AS job, j.name, j.kind, a.shard_no AS shard, a.fence AS attempt, a.started_at,
    a.finished_at, a.outcome, a.examples, a.seconds, a.error, a.device, a.versions
FROM attempt a JOIN job j ON j.id = a.job_id
WHERE a.worker = :worker AND j.state <> 'deleting'
ORDER BY a.started_at DESC, a.job_id, a.shard_no LIMIT :limit OFFSET :offset
"""


@dataclass(frozen=True, kw_only=True)
class WorkerAttempt:
    """An attempt at a shard, as the page of its worker shows it."""

    job: int
    name: str
    """Of the job; may be empty."""
    kind: str
    shard: int
    attempt: int
    started_at: float
    finished_at: float | None
    outcome: AttemptOutcome | None
    """None while it runs."""
    examples: int | None
    seconds: float | None
    """Time that computing took."""
    error: str | None
    device: str
    versions: str

    @property
    def rate(self) -> float | None:
        """Examples per second of computing."""
        return self.examples / self.seconds if self.examples and self.seconds else None


def list_attempts(
    database: Database, worker: str, *, limit: int = 50, offset: int = 0
) -> list[WorkerAttempt]:
    """List the attempts of a worker, newest first; those of deleted jobs are gone."""
    rows = database.rows(ATTEMPTS, worker=worker, limit=limit, offset=offset)
    ended = [None if row["outcome"] is None else AttemptOutcome(row["outcome"]) for row in rows]
    return [
        WorkerAttempt(**{**row, "outcome": outcome})
        for row, outcome in zip(rows, ended, strict=True)
    ]
