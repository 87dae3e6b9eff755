"""The numbers of /metrics, counted in the database: right for a whole fleet."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from db import fleet
from db.database import Database
from jobs.settings import Settings

JOB_STATE_COUNTS = "SELECT state, COUNT(*) AS n FROM job GROUP BY state"
ALL_SHARD_COUNTS = "SELECT state, COUNT(*) AS n FROM shard GROUP BY state"
EXAMPLES_DONE = (
    "SELECT COALESCE(SUM(hi - lo), 0), COALESCE(SUM(examples_failed), 0) "
    "FROM shard WHERE state = 'done'"
)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The numbers of /metrics."""

    jobs: dict[str, int]
    shards: dict[str, int]
    workers_alive: int
    workers_dead: int
    examples_done: int
    examples_failed: int


def get_counts(database: Database, settings: Settings) -> Counts:
    """Everything that /metrics shows."""
    alive = [worker.alive for worker in fleet.list_workers(database, settings)]
    with database.read() as connection:
        done, failed = connection.execute(text(EXAMPLES_DONE)).one()
        jobs = connection.execute(text(JOB_STATE_COUNTS)).all()
        shards = connection.execute(text(ALL_SHARD_COUNTS)).all()
    return Counts(
        jobs={state: int(n) for state, n in jobs},
        shards={state: int(n) for state, n in shards},
        workers_alive=sum(alive),
        workers_dead=len(alive) - sum(alive),
        examples_done=int(done),
        examples_failed=int(failed),
    )
