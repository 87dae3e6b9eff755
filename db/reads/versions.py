"""The version of what pages show of jobs: it changes whenever they would look different.

Read before anything else of a job, so that a page that polls costs two small queries as long as
nothing has happened. What only the clock changes, such as the seconds a job has run, is left out;
where a running job does not move, the version changes every ten seconds all the same, because
pages say then that a worker is silent or stalled.
"""

from __future__ import annotations

from collections.abc import Sequence

from db import schema
from db.database import Database
from db.ops import fleet
from db.reads.status import order_of
from jobs.states import FINAL_JOB_STATES, JobState, ShardState

_LONG = {"spec", "labels"}
"""Long values that do not change after submission and planning."""
_COLUMNS = ", ".join(f"j.{c.name}" for c in schema.job.columns if c.name not in _LONG)
JOBS = f"""
SELECT {_COLUMNS},
    (SELECT COUNT(*) FROM job_parent p JOIN job q ON q.id = p.parent_id
     WHERE p.job_id = j.id AND q.state = 'succeeded') AS parents_done,
    (SELECT MAX(l.stored_at) FROM job_log l WHERE l.job_id = j.id) AS logged_at
FROM job j WHERE j.id IN :jobs AND j.state <> 'deleting' ORDER BY j.id
"""  # noqa: S608 - constants
SHARDS = """
SELECT job_id, 'done' AS state, COUNT(*), 0, 0, 0, 0, NULL
FROM shard WHERE state = 'done' AND job_id IN :jobs GROUP BY job_id
UNION ALL
SELECT job_id, state, COUNT(*), SUM(fence), SUM(progress), SUM(errors), SUM(losses),
    CASE WHEN state = 'leased' AND MAX({clock} - moved_at) > :still
         THEN CAST({clock} / 10 AS INTEGER) END
FROM shard WHERE state IN ('ready', 'leased', 'failed', 'cancelled') AND job_id IN :jobs
GROUP BY job_id, state
ORDER BY 1, 2
"""
"""Done shards, most of them as a rule, are only counted, in an index: they do not change."""


def of_jobs(
    database: Database, job_ids: Sequence[int], heartbeat_seconds: float
) -> list[tuple[object, ...]]:
    """Rows that are the same as long as these jobs look the same."""
    with database.read() as tx:
        jobs = tx.run(JOBS, jobs=list(job_ids)).all()
        found = [tuple(row) for row in jobs]
        if unfinished := [row.id for row in jobs if row.state not in FINAL_JOB_STATES]:
            found += map(tuple, tx.run(SHARDS, jobs=unfinished, still=2 * heartbeat_seconds))
        # Places in a queue change with other jobs.
        leased = {row[0] for row in found[len(jobs) :] if row[1] == ShardState.LEASED}
        waiting = [row for row in jobs if row.state == JobState.RUNNING and row.id not in leased]
        queues = sorted({row.queue for row in waiting})
        found += [(queue, *(row.job_id for row in order_of(tx, queue))) for queue in queues]
    if queues:
        workers = fleet.count_workers(database, fleet.dead_after(heartbeat_seconds))
        found += [(queue, workers[queue].alive) for queue in queues if queue in workers]
    return found
