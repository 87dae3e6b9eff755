"""The fleet: workers, schedulers and the broker at their last heartbeats, by the database's clock.

A process that misses two heartbeats is considered dead. A shard is stalled if it makes no progress
although its worker is alive.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from db.database import Database
from db.queue.claims import Claim, WorkerIdentity
from db.reads.jobs import Shard
from jobs.settings import Settings
from jobs.space import spaces

WORKERS = """
SELECT w.name, w.host, w.pid, w.queue, w.device, w.versions, w.state, w.job_id,
    w.shard_no AS shard, w.started_at, w.seen_at, w.beat_seconds, w.vitals AS resource_usage,
    {clock} - w.seen_at AS silent, {clock} - COALESCE(w.moved_at, s.moved_at) AS still
FROM worker w LEFT JOIN shard s ON s.job_id = w.job_id AND s.shard_no = w.shard_no
    AND s.owner = w.name AND s.state = 'leased'
ORDER BY w.seen_at DESC LIMIT 500
"""

SCHEDULERS = """
SELECT name, host, pid, state, doing, broker, broker_error, started_at, seen_at, beat_seconds,
    {clock} - seen_at AS silent, {clock} - moved_at AS still
FROM scheduler ORDER BY seen_at DESC LIMIT 100
"""

RUNNING_QUEUES = """
SELECT queue, COUNT(*) AS jobs FROM job WHERE state = 'running' AND control = 'run' GROUP BY queue
"""

REPORT_WORKER = """
INSERT INTO worker (name, host, pid, queue, device, versions, state, job_id, shard_no,
                    started_at, seen_at, beat_seconds, vitals, moved_at)
VALUES (:name, :host, :pid, :queue, :device, :versions, :state, :job_id, :shard_no,
        {clock}, {clock}, :heartbeat_seconds, :resource_usage, {clock} - :still)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, job_id = excluded.job_id,
    shard_no = excluded.shard_no, device = excluded.device, seen_at = excluded.seen_at,
    vitals = excluded.vitals, moved_at = excluded.moved_at
"""

LIVE_WORKERS = """
SELECT queue, state, COUNT(*) AS workers FROM worker
WHERE state <> 'stopped' AND seen_at > {clock} - :grace GROUP BY queue, state
"""

REPORT_SCHEDULER = """
INSERT INTO scheduler (name, host, pid, state, doing, broker, broker_error,
                       started_at, seen_at, moved_at, beat_seconds)
VALUES (:name, :host, :pid, :state, :doing, :broker, :broker_error,
        {clock}, {clock}, {clock} - :still, :heartbeat_seconds)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, doing = excluded.doing,
    broker_error = excluded.broker_error, seen_at = excluded.seen_at, moved_at = excluded.moved_at
"""

DELETE_WORKERS = "DELETE FROM worker WHERE seen_at < {clock} - :age"
DELETE_SCHEDULERS = "DELETE FROM scheduler WHERE seen_at < {clock} - :age"


FAILING = 3
"""Failures in a row right after the start of a worker that make a notice."""


class ProcessState(StrEnum):
    """State of a worker or a scheduler: reported, or concluded from its silence."""

    IDLE = "idle"
    BUSY = "busy"
    RUNNING = "running"
    """A scheduler that works."""
    STOPPED = "stopped"
    STALLED = "stalled"
    """It sends heartbeats, but its shard or its round does not move on."""
    DEAD = "dead"


@dataclass(frozen=True, kw_only=True)
class WorkerCount:
    """The workers of a queue."""

    idle: int = 0
    alive: int = 0
    """Busy ones included."""


NO_WORKERS = WorkerCount()


@dataclass(frozen=True, kw_only=True)
class Worker(WorkerIdentity):
    """A worker process at its last heartbeat."""

    state: str
    job_id: int | None
    shard: int | None
    started_at: float
    seen_at: float
    silent: float
    """Seconds since its last heartbeat, by the database's clock."""
    still: float | None
    """Seconds since it went on: made progress with its shard, or looked for another; None for
    workers of earlier releases."""
    resource_usage: dict[str, float]
    """See `workers.resource_usage`."""
    alive: bool
    condition: ProcessState


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """The state of a worker at a heartbeat; None for unknown values."""

    resource_usage: str | None = None
    """A JSON object, see `workers.resource_usage`."""
    still: float | None = None
    """Seconds since it went on."""


@dataclass(frozen=True, kw_only=True)
class SchedulerIdentity:
    """The identity of a scheduler process, and the broker that it uses."""

    name: str
    host: str
    pid: int
    broker: str
    heartbeat_seconds: float


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """A scheduler process at its last heartbeat."""

    name: str
    host: str
    pid: int
    state: str
    doing: str | None
    """The step in progress, if it may take long."""
    broker: str
    broker_error: str | None
    """The error if it could not reach the broker."""
    started_at: float
    seen_at: float
    silent: float
    still: float
    """Seconds since its last round ended, by the database's clock."""
    alive: bool
    condition: ProcessState


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that jobs wait for, as users read it."""

    what: str
    """disk, scheduler, broker or workers."""
    message: str
    remedy: str


def dead_after(heartbeat_seconds: float) -> float:
    """Seconds of silence after which a process is shown as dead: two heartbeats."""
    return 2 * heartbeat_seconds


def patience(heartbeat_seconds: float) -> float:
    """Seconds of silence after which a worker is ignored when shards are dispatched.

    Longer than `dead_after`: a slow database delays heartbeats, and an idle worker that is not
    woken costs half a minute.
    """
    return dead_after(heartbeat_seconds) + 5.0


def list_workers(database: Database, settings: Settings) -> list[Worker]:
    """List workers, most recently seen first."""
    rows = [_with_condition(dict(row), settings) for row in database.rows(WORKERS)]
    for row in rows:
        row["resource_usage"] = json.loads(row["resource_usage"] or "{}")
    return [Worker(**row) for row in rows]


def list_schedulers(database: Database, settings: Settings) -> list[Scheduler]:
    """List schedulers, most recently seen first."""
    rows = database.rows(SCHEDULERS)
    return [Scheduler(**_with_condition(dict(row), settings)) for row in rows]


def count_workers(database: Database, grace: float) -> dict[str, WorkerCount]:
    """Count the workers seen within `grace` seconds, by queue.

    A worker of several queues counts in each: a wake-up too many finds nothing, one too few would
    leave a shard waiting.
    """
    idle: Counter[str] = Counter()
    alive: Counter[str] = Counter()
    for row in database.rows(LIVE_WORKERS, grace=grace):
        for queue in row["queue"].split(","):
            alive[queue] += row["workers"]
            idle[queue] += row["workers"] if row["state"] == ProcessState.IDLE else 0
    return {queue: WorkerCount(idle=idle[queue], alive=alive[queue]) for queue in alive}


def shard_condition(shard: Shard, settings: Settings) -> ProcessState | None:
    """Tell whether a leased shard is stalled or its worker dead; None if neither."""
    if shard.silent is None:
        return None
    if shard.silent > dead_after(shard.heartbeat_seconds or settings.heartbeat_seconds):
        return ProcessState.DEAD
    known = shard.heartbeat_seconds is not None and _stalled(shard.still, shard.silent, settings)
    return ProcessState.STALLED if known else None


def report_worker(
    database: Database,
    who: WorkerIdentity,
    state: ProcessState,
    held: Claim | None = None,
    heartbeat_seconds: float | None = None,
    vitals: Vitals | None = None,
) -> None:
    """Store a worker's heartbeat: its state, the shard it holds, and how it is."""
    vitals = vitals or Vitals()
    with database.write() as tx:
        tx.run(
            REPORT_WORKER,
            **asdict(who),
            state=state.value,
            job_id=held.job_id if held else None,
            shard_no=held.shard_no if held else None,
            heartbeat_seconds=heartbeat_seconds,
            **asdict(vitals),
        )


def report_scheduler(
    database: Database,
    who: SchedulerIdentity,
    *,
    state: ProcessState,
    doing: str | None,
    broker_error: str | None,
    still: float,
) -> None:
    """Store a scheduler's heartbeat; its last round ended `still` seconds ago."""
    report = {"state": state.value, "doing": doing, "broker_error": broker_error, "still": still}
    with database.write() as tx:
        tx.run(REPORT_SCHEDULER, **asdict(who), **report)


def delete_unseen(database: Database, age: float) -> None:
    """Delete workers and schedulers that were not seen for `age` seconds."""
    with database.write() as tx:
        tx.run(DELETE_WORKERS, age=age)
        tx.run(DELETE_SCHEDULERS, age=age)


def notices(database: Database, settings: Settings) -> list[Notice]:
    """List what jobs wait for, and the remedy: space, a scheduler, the broker, workers of a queue.

    Space is that of this machine.
    """
    schedulers = list_schedulers(database, settings)
    alive = [one for one in schedulers if one.alive]
    workers = [one for one in list_workers(database, settings) if one.alive]
    running = {row["queue"]: row["jobs"] for row in database.rows(RUNNING_QUEUES)}
    return [
        *_space_notices(settings),
        *_scheduler_notices(schedulers, alive),
        *_broker_notices(alive),
        *_worker_notices(workers, running),
    ]


def trace_seed(database: Database) -> Callable[[int], str]:
    """Make the seed for `jobs.traces`, the time at which a job was submitted."""
    created = "SELECT created_at FROM job WHERE id = :id"
    return lambda job_id: repr(database.value(created, id=job_id))


def _space_notices(settings: Settings) -> Iterator[Notice]:
    for one in spaces(settings):
        if one.shortage:
            remedy = "Free some; `headwise purge` removes what is old, `headwise compact` shrinks."
            yield Notice(what="disk", message=one.shortage, remedy=remedy)


def _scheduler_notices(every: Sequence[Scheduler], alive: Sequence[Scheduler]) -> Iterator[Notice]:
    if not alive:
        last = f" The last one was seen on {every[0].host}." if every else ""
        yield Notice(
            what="scheduler",
            message="No scheduler is running: jobs are not planned or finished, and shards are not "
            f"taken back from dead workers.{last}",
            remedy="Start one with `headwise scheduler`, or everything with `headwise up`.",
        )
    elif all(one.condition is ProcessState.STALLED for one in alive):
        doing = f" (it is {alive[0].doing})" if alive[0].doing else ""
        yield Notice(
            what="scheduler",
            message=f"The scheduler on {alive[0].host} has not ended a round for "
            f"{alive[0].still:.0f} s{doing}.",
            remedy="Start a second one meanwhile: `headwise scheduler`.",
        )


def _broker_notices(alive: Sequence[Scheduler]) -> Iterator[Notice]:
    if alive and all(one.broker_error for one in alive):
        yield Notice(
            what="broker",
            message=f"The broker {alive[0].broker} does not answer: running workers continue, idle "
            "ones are not woken.",
            remedy=f"Start it, or check HEADWISE_BROKER_URL. {alive[0].broker_error}",
        )


def _worker_notices(alive: Sequence[Worker], running: dict[str, int]) -> Iterator[Notice]:
    for worker in alive:
        if (failures := int(worker.resource_usage.get("failures", 0))) >= FAILING:
            yield Notice(
                what="workers",
                message=f"A worker on {worker.host} keeps failing: it ended {failures} times in a "
                "row right after its start.",
                remedy="Read the output of the command that started it.",
            )
    served = {name.strip() for worker in alive for name in worker.queue.split(",")}
    for queue, jobs in running.items():
        if queue not in served:
            yield Notice(
                what="workers",
                message=f"No worker of the queue {queue} is alive: "
                f"{jobs} running job{'s wait' if jobs > 1 else ' waits'} for one.",
                remedy="Start one with `headwise worker`, on this machine or another.",
            )


def _with_condition(row: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """A process's row with `alive` and `condition` in place of `beat_seconds`."""
    # Workers of earlier versions report neither this nor progress.
    interval = row.pop("beat_seconds")
    condition = ProcessState(row["state"])
    if condition is not ProcessState.STOPPED:
        if row["silent"] > dead_after(interval or settings.heartbeat_seconds):
            condition = ProcessState.DEAD
        elif interval is not None and _stalled(row["still"], row["silent"], settings):
            condition = ProcessState.STALLED
    alive = condition not in (ProcessState.STOPPED, ProcessState.DEAD)
    return {**row, "alive": alive, "condition": condition}


def _stalled(still: float | None, silent: float, settings: Settings) -> bool:
    """Return True if there had been no progress for long at the last heartbeat.

    Nothing is heard between two heartbeats, so that time does not count.
    """
    return still is not None and still - silent > settings.stall_warn_seconds
