"""The status of jobs, and why those that wait do: one answer for pages, commands and the API.

The state of a job is that of the state machine: `running` from its plan to its last shard, whether
a worker holds one of its shards or not. Its status is what a user wants to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from db.database import Database
from db.ops import conditions, fleet
from db.ops.conditions import Notice, Subject
from db.queue.ask import ANYTHING
from db.queue.sql import RANKED
from db.reads.jobs import Job
from db.transaction import Transaction
from jobs.formatting import counted, duration, ordinal
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
HOSTS = """
SELECT s.job_id, COALESCE(w.host, s.owner) AS host, COUNT(*) AS n
FROM shard s LEFT JOIN worker w ON w.name = s.owner
WHERE s.state = 'leased' AND s.job_id IN :jobs GROUP BY s.job_id, COALESCE(w.host, s.owner)
ORDER BY s.job_id, host
"""
NAMED = 3
"""Most users that a reason names."""
NAMED_HOSTS = 2
"""Most machines that a status names."""


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
    """The reason a job waits."""

    cause: Cause
    message: str
    """A sentence."""
    position: int | None = None
    """Its place in the queue, from 1: in the order in which a worker would take a shard; None if
    it waits for something else, and behind the first few dozen."""


class Phase(StrEnum):
    """A job's status: the thing it does now."""

    WAITING = "waiting"
    PLANNING = "planning"
    EXECUTING = "executing"
    """Workers hold its shards."""
    PAUSING = "pausing"
    """Workers that still hold its shards stop at their next batch."""
    PAUSED = "paused"
    STOPPING = "stopping"
    """Its deadline has passed."""
    FINALIZING = "finalizing"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Status:
    """A job's status: the thing it does now."""

    phase: Phase
    words: str
    """The same with where or what for: `waiting (7th in queue)`, `executing on gpu-3`."""
    reason: Reason | None = None
    """The reason that it waits, if it does."""
    hosts: tuple[str, ...] = ()
    """Machines whose workers hold its shards."""

    @property
    def detail(self) -> str:
        """The words' addition to the phase."""
        return self.words.removeprefix(self.phase.value).strip()


def statuses(database: Database, jobs: Sequence[Job], settings: Settings) -> dict[int, Status]:
    """Return what jobs do now, by number."""
    why = reasons(database, jobs, settings)
    open_ = [job.id for job in jobs if job.leases]
    hosts: dict[int, dict[str, int]] = {}
    for row in database.rows(HOSTS, jobs=open_) if open_ else ():
        hosts.setdefault(row["job_id"], {})[row["host"]] = int(row["n"])
    return {job.id: _status(job, why.get(job.id), hosts.get(job.id, {})) for job in jobs}


def status_of(database: Database, job: Job, settings: Settings) -> Status:
    """Return what a job does now."""
    return statuses(database, [job], settings)[job.id]


def _status(job: Job, reason: Reason | None, hosts: Mapping[str, int]) -> Status:
    phase = _phase(job, reason)
    words = phase.value
    if phase is Phase.WAITING and reason is not None:
        words = _waiting(job, reason)
    elif phase in (Phase.EXECUTING, Phase.PAUSING) and hosts:
        named = len(hosts) <= NAMED_HOSTS
        words = f"{words} on {_names(hosts) if named else counted(len(hosts), 'machine')}"
    return Status(phase=phase, words=words, reason=reason, hosts=tuple(hosts))


def _phase(job: Job, reason: Reason | None) -> Phase:
    if job.control == Control.PAUSE and job.state in _PAUSABLE:
        return Phase.PAUSING if job.leases or job.state is JobState.PLANNING else Phase.PAUSED
    if job.state is JobState.RUNNING and reason is None:
        # With neither a leased nor a ready shard it is about to be finalized.
        done = not job.leases and job.examples_done >= job.examples
        return Phase.FINALIZING if done else Phase.EXECUTING
    if job.state in (JobState.QUEUED, JobState.RUNNING):
        return Phase.WAITING
    return Phase(job.state.value)


_PAUSABLE = (JobState.QUEUED, JobState.PLANNING, JobState.RUNNING, JobState.PAUSED)


def _waiting(job: Job, reason: Reason) -> str:
    if reason.position is not None:
        return f"waiting ({'next' if reason.position == 1 else ordinal(reason.position)} in queue)"
    if reason.cause is Cause.PARENTS:
        return job.waiting or "waiting"
    return f"waiting {_WAITING_FOR[reason.cause]}"


_WAITING_FOR = {
    Cause.HUB: "for the hub",
    Cause.SCHEDULER: "for a scheduler",
    Cause.PAUSED: "",
    Cause.ERROR: "(retry after an error)",
    Cause.WORKERS: "(no worker)",
    Cause.LIMIT: "(limit reached)",
    Cause.OTHERS: "in the queue",
}


def reasons(database: Database, jobs: Sequence[Job], settings: Settings) -> dict[int, Reason]:
    """Return why jobs wait, by number; jobs that run or have ended are left out."""
    found: dict[int, Reason] = {}
    queued: list[Job] = []
    started: list[Job] = []
    for job in jobs:
        if job.control == Control.PAUSE and not job.final:
            message = f"It is paused{_kept(job)}. Run `headwise resume {job.id}` to resume it."
            found[job.id] = Reason(cause=Cause.PAUSED, message=message)
        elif job.state in (JobState.QUEUED, JobState.PLANNING):
            queued.append(job)
        elif job.state is JobState.RUNNING:
            started.append(job)
    if queued:
        notices = conditions.notices(database, settings)
        found |= {job.id: _before_planning(job, notices) for job in queued}
    if started:
        found |= _Fleet(database, settings).reasons(database, started)
    return found


def _kept(job: Job) -> str:
    """The examples that are computed, in words: a pause loses none of them."""
    if job.leases:
        return "; its workers finish their batch, which is kept"
    if job.computed:
        return f" at {counted(job.computed, 'example')} of {job.examples:,}, which are kept"
    return ""


def _before_planning(job: Job, notices: Sequence[Notice]) -> Reason:
    if job.waiting:
        cause = Cause.HUB if job.plan_at else Cause.PARENTS
        return Reason(cause=cause, message=f"It is {job.waiting}. {job.error or ''}".strip())
    for notice in notices:
        if notice.what == Subject.SCHEDULER:
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
        queues = {job.queue for job in waiting}
        with database.read() as tx:
            order = {queue: order_of(tx, queue) for queue in queues}
        return {job.id: self._reason(job, shards[job.id], order[job.queue]) for job in waiting}

    def _reason(self, job: Job, shards: Mapping[Any, Any], order: Sequence[Any]) -> Reason:
        if unserved := fleet.unserved(job.queue, self.workers):
            return Reason(cause=Cause.WORKERS, message=f"{unserved[0].upper()}{unserved[1:]}.")
        if shards["wait"] > 0:
            again = f"It is tried again in {duration(shards['wait'])}"
            message = f"{again}, after an error: {shards['error']}" if shards["error"] else again
            return Reason(cause=Cause.ERROR, message=f"{message.rstrip('.')}.")
        return self._limit(job) or self._others(job, order, self.workers[job.queue].alive)

    def _limit(self, job: Job) -> Reason | None:
        leased = self.leased.get(job.queue, Counter())
        for limit, running, whose in (
            (self.settings.user_leases, leased[job.user], f"{job.user} may run"),
            (self.settings.queue_leases, leased.total(), f"the queue {job.queue} may have"),
        ):
            if limit and running >= limit:
                message = f"{_running(running)}; {whose} at most {limit} at a time."
                return Reason(cause=Cause.LIMIT, message=message)
        return None

    def _others(self, job: Job, order: Sequence[Any], alive: int) -> Reason:
        numbers = [row.job_id for row in order]
        ahead = order[: numbers.index(job.id)] if job.id in numbers else order
        leased = self.leased.get(job.queue, Counter())
        workers = f"{counted(alive, 'worker')} of the queue {job.queue}"
        running = (
            _running(leased.total(), f" of {_names(leased)}") if leased else "Nothing is running"
        )
        next_ = "it is next"
        if ahead:
            come = "comes" if len(ahead) == 1 else "come"
            owners = _names({row.user_name for row in ahead})
            next_ = f"{counted(len(ahead), 'job')} of {owners} {come} first"
        place = len(ahead) + 1 if job.id in numbers else None
        message = f"{running} on {workers}; {next_}."
        return Reason(cause=Cause.OTHERS, message=message, position=place)


def order_of(tx: Transaction, queue: str) -> Sequence[Any]:
    """The jobs of a queue that wait, in the order in which a worker would take them."""
    values = {
        "queues": [queue],
        "model": None,
        "patience": ANYTHING.patience,
        "turn": ANYTHING.turn,
        "user_limit": 0,
        "queue_limit": 0,
    }
    return tx.run(RANKED, **values).all()


def _running(shards: int, whose: str = "") -> str:
    return f"{counted(shards, 'shard')}{whose} {'runs' if shards == 1 else 'run'}"


def _names(users: Iterable[str]) -> str:
    names = sorted(users)
    shown = names[:NAMED] + ([f"{len(names) - NAMED} more"] if len(names) > NAMED else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
