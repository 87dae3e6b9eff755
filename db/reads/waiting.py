"""Why jobs wait: one answer for pages, the command line and the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from db.database import Database
from db.ops import fleet
from db.ops.fleet import Notice
from db.queue.claims import ANYTHING
from db.queue.sql import RANKED
from db.reads.jobs import Job
from jobs.formatting import counted, duration
from jobs.settings import Settings
from jobs.states import Control, JobState

SHARDS = """
SELECT job_id, SUM(CASE WHEN state = 'leased' THEN 1 ELSE 0 END) AS leased,
    SUM(CASE WHEN state = 'ready' THEN 1 ELSE 0 END) AS ready,
    MIN(CASE WHEN state = 'ready' THEN available_at END) - {clock} AS wait,
    MAX(CASE WHEN state = 'ready' THEN error END) AS error
FROM shard WHERE job_id IN :jobs GROUP BY job_id
"""
LEASED = """
SELECT j.queue, j.user_name, COUNT(*) AS n FROM shard s JOIN job j ON j.id = s.job_id
WHERE s.state = 'leased' GROUP BY j.queue, j.user_name
"""
NAMED = 3
"""Most users that a reason names."""


class Cause(StrEnum):
    """The reason that a job waits."""

    PARENTS = "parents"
    HUB = "hub"
    SCHEDULER = "scheduler"
    PAUSED = "paused"
    ERROR = "error"
    """A try after an error."""
    WORKERS = "workers"
    """No worker of its queue is alive."""
    LIMIT = "limit"
    OTHERS = "others"
    """Shards of other jobs come first."""


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a job waits."""

    cause: Cause
    message: str
    """A sentence."""


def reasons(database: Database, jobs: Sequence[Job], settings: Settings) -> dict[int, Reason]:
    """Return why jobs wait, by number; jobs that run or have ended are left out."""
    found: dict[int, Reason] = {}
    queued: list[Job] = []
    started: list[Job] = []
    for job in jobs:
        if job.control == Control.PAUSE and not job.final:
            message = f"It is paused. `headwise resume {job.id}` lets it go on."
            found[job.id] = Reason(cause=Cause.PAUSED, message=message)
        elif job.state in (JobState.QUEUED, JobState.PLANNING):
            queued.append(job)
        elif job.state is JobState.RUNNING:
            started.append(job)
    if queued:
        notices = fleet.notices(database, settings)
        found |= {job.id: _before_planning(job, notices) for job in queued}
    if started:
        found |= _Fleet(database, settings).reasons(database, started)
    return found


def _before_planning(job: Job, notices: Sequence[Notice]) -> Reason:
    if job.waiting:
        cause = Cause.HUB if job.plan_at else Cause.PARENTS
        return Reason(cause=cause, message=f"It is {job.waiting}. {job.error or ''}".strip())
    for notice in notices:
        if notice.what == "scheduler":
            return Reason(cause=Cause.SCHEDULER, message=notice.message)
    return Reason(cause=Cause.SCHEDULER, message="A scheduler is about to read its data.")


class _Fleet:
    """The workers and leases of all queues, read once for many jobs."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.settings = settings
        self.workers = fleet.count_workers(database, fleet.dead_after(settings.heartbeat_seconds))
        self.leased: dict[str, Counter[str]] = {}
        for row in database.rows(LEASED):
            self.leased.setdefault(row["queue"], Counter())[row["user_name"]] = row["n"]

    def reasons(self, database: Database, jobs: Sequence[Job]) -> dict[int, Reason]:
        """Return why running jobs without a leased shard wait."""
        rows = database.rows(SHARDS, jobs=[job.id for job in jobs])
        shards = {row["job_id"]: row for row in rows if row["ready"] and not row["leased"]}
        waiting = [job for job in jobs if job.id in shards]
        order = {queue: _order(database, queue) for queue in {job.queue for job in waiting}}
        return {job.id: self._reason(job, shards[job.id], order[job.queue]) for job in waiting}

    def _reason(self, job: Job, shards: Mapping[Any, Any], order: Sequence[Any]) -> Reason:
        workers = self.workers.get(job.queue, fleet.NO_WORKERS)
        if not workers.alive:
            message = f"No worker serves the queue {job.queue}: start one with `headwise worker "
            return Reason(cause=Cause.WORKERS, message=f"{message}--queues {job.queue}`.")
        if shards["wait"] > 0:
            again = f"It is tried again in {duration(shards['wait'])}"
            message = f"{again}, after an error: {shards['error']}" if shards["error"] else again
            return Reason(cause=Cause.ERROR, message=f"{message.rstrip('.')}.")
        return self._limit(job) or self._others(job, order, workers.alive)

    def _limit(self, job: Job) -> Reason | None:
        leased = self.leased.get(job.queue, Counter())
        for limit, running, whose in (
            (self.settings.user_leases, leased[job.user], f"{job.user} may run"),
            (self.settings.queue_leases, leased.total(), f"the queue {job.queue} may have"),
        ):
            if limit and running >= limit:
                message = f"{_running(running)}, and {whose} {limit} at a time."
                return Reason(cause=Cause.LIMIT, message=message)
        return None

    def _others(self, job: Job, order: Sequence[Any], alive: int) -> Reason:
        numbers = [row.job_id for row in order]
        ahead = order[: numbers.index(job.id)] if job.id in numbers else order
        leased = self.leased.get(job.queue, Counter())
        workers = f"{counted(alive, 'worker')} of the queue {job.queue}"
        running = _running(leased.total(), f" of {_names(leased)}") if leased else "Nothing runs"
        next_ = "it is next"
        if ahead:
            come = "job comes" if len(ahead) == 1 else "jobs come"
            next_ = f"{len(ahead):,} {come} first, of {_names({row.user_name for row in ahead})}"
        return Reason(cause=Cause.OTHERS, message=f"{running} on {workers}; {next_}.")


def _order(database: Database, queue: str) -> Sequence[Any]:
    """The jobs of a queue that wait, in the order in which a worker would take them."""
    values = {
        "queues": [queue],
        "model": None,
        "patience": ANYTHING.patience,
        "turn": ANYTHING.turn,
        "user_limit": 0,
        "queue_limit": 0,
    }
    with database.read() as tx:
        return tx.run(RANKED, **values).all()


def _running(shards: int, whose: str = "") -> str:
    return f"{counted(shards, 'shard')}{whose} {'runs' if shards == 1 else 'run'}"


def _names(users: Iterable[str]) -> str:
    names = sorted(users)
    shown = names[:NAMED] + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
