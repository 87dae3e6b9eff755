"""The fleet: workers, schedulers and other processes at their last heartbeats.

All times are by the database's clock. A process that misses two heartbeats is considered dead,
unless the database has just started, or was interrupted for this process: then nothing could be
heard. A shard is stalled if it makes no progress although its worker is alive.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from db.database import Database
from db.queue.ask import WorkerIdentity
from db.reads.jobs import Shard
from jobs.processes import report
from jobs.processes.report import Report
from jobs.settings import Settings

if TYPE_CHECKING:
    from db.queue.claims import Claim

WORKERS = """
SELECT w.name, w.host, w.pid, w.queue, w.device, w.versions, w.state, w.job_id,
    w.shard_no AS shard, w.started_at, w.seen_at, w.beat_seconds, w.vitals AS resource_usage,
    w.report, {uptime} AS uptime, {clock} - w.seen_at AS silent,
    {clock} - COALESCE(w.moved_at, s.moved_at) AS still
FROM worker w LEFT JOIN shard s ON s.job_id = w.job_id AND s.shard_no = w.shard_no
    AND s.owner = w.name AND s.state = 'leased'
ORDER BY w.seen_at DESC LIMIT 500
"""

SCHEDULERS = """
SELECT name, host, pid, state, doing, broker, broker_error, started_at, seen_at, beat_seconds,
    report, {uptime} AS uptime, {clock} - seen_at AS silent, {clock} - moved_at AS still
FROM scheduler ORDER BY seen_at DESC LIMIT 100
"""

PROCESSES = """
SELECT name, host, pid, role, state, report, started_at, seen_at, beat_seconds,
    {uptime} AS uptime, {clock} - seen_at AS silent, CAST(NULL AS double precision) AS still
FROM process ORDER BY seen_at DESC LIMIT 100
"""

REPORT_WORKER = """
INSERT INTO worker (name, host, pid, queue, device, versions, state, job_id, shard_no,
                    started_at, seen_at, beat_seconds, vitals, moved_at, report)
VALUES (:name, :host, :pid, :queue, :device, :versions, :state, :job_id, :shard_no,
        {clock}, {clock}, :heartbeat_seconds, :resource_usage, {clock} - :still, :report)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, job_id = excluded.job_id,
    shard_no = excluded.shard_no, device = excluded.device, seen_at = excluded.seen_at,
    vitals = excluded.vitals, moved_at = excluded.moved_at, report = excluded.report
"""

LIVE_WORKERS = """
SELECT queue, state, COUNT(*) AS workers FROM worker
WHERE state <> 'stopped' AND seen_at > {clock} - :grace GROUP BY queue, state
"""

REPORT_SCHEDULER = """
INSERT INTO scheduler (name, host, pid, state, doing, broker, broker_error,
                       started_at, seen_at, moved_at, beat_seconds, report)
VALUES (:name, :host, :pid, :state, :doing, :broker, :broker_error,
        {clock}, {clock}, {clock} - :still, :heartbeat_seconds, :report)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, doing = excluded.doing,
    broker_error = excluded.broker_error, seen_at = excluded.seen_at, moved_at = excluded.moved_at,
    report = excluded.report
"""

REPORT_PROCESS = """
INSERT INTO process (name, host, pid, role, state, report, started_at, seen_at, beat_seconds)
VALUES (:name, :host, :pid, :role, :state, :report, {clock}, {clock}, :heartbeat_seconds)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, seen_at = excluded.seen_at,
    report = excluded.report
"""

DELETE_WORKERS = "DELETE FROM worker WHERE seen_at < {clock} - :age"
DELETE_SCHEDULERS = "DELETE FROM scheduler WHERE seen_at < {clock} - :age"
DELETE_PROCESSES = "DELETE FROM process WHERE seen_at < {clock} - :age"


class ProcessState(StrEnum):
    """State of a worker or a scheduler: reported, or concluded from its silence."""

    IDLE = "idle"
    BUSY = "busy"
    RUNNING = "running"
    """A scheduler, dashboard or supervisor that works."""
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
    report: Report
    alive: bool
    condition: ProcessState


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """The state of a worker at a heartbeat; None for unknown values."""

    resource_usage: str | None = None
    """A JSON object, see `workers.resource_usage`."""
    still: float | None = None
    """Seconds since it went on."""
    report: str | None = None
    """A `Report` as JSON."""


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
    report: Report
    alive: bool
    condition: ProcessState


class Role(StrEnum):
    """Kinds of processes beside workers and schedulers."""

    WEB = "web"
    SUPERVISOR = "supervisor"
    """`headwise up`, or `headwise worker` with several devices."""
    DOCTOR = "doctor"
    """`headwise doctor`, which tries whether a heartbeat can be stored."""


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """The identity of a dashboard or a supervisor."""

    name: str
    host: str
    pid: int
    role: Role
    heartbeat_seconds: float


@dataclass(frozen=True, kw_only=True)
class Process:
    """A dashboard or a supervisor at its last heartbeat."""

    name: str
    host: str
    pid: int
    role: str
    state: str
    report: Report
    started_at: float
    seen_at: float
    silent: float
    still: float | None
    alive: bool
    condition: ProcessState


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
    rows = _read(database, settings, WORKERS)
    for row in rows:
        row["resource_usage"] = json.loads(row["resource_usage"] or "{}")
    return [Worker(**row) for row in rows]


def list_schedulers(database: Database, settings: Settings) -> list[Scheduler]:
    """List schedulers, most recently seen first."""
    return [Scheduler(**row) for row in _read(database, settings, SCHEDULERS)]


def list_processes(database: Database, settings: Settings) -> list[Process]:
    """List dashboards and supervisors, most recently seen first."""
    return [Process(**row) for row in _read(database, settings, PROCESSES)]


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


def unserved(queue: str, workers: Mapping[str, WorkerCount]) -> str | None:
    """Say that no worker serves a queue, and which queues are served; None if one serves it.

    workers: what `count_workers` gives
    """
    if queue in workers:
        return None
    served = f"; workers serve {', '.join(sorted(workers))}" if workers else ""
    return (
        f"no worker serves the queue {queue}: start one with `headwise worker --queues {queue}`"
        f"{served}"
    )


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


def report_scheduler(  # noqa: PLR0913 - the columns of its row
    database: Database,
    who: SchedulerIdentity,
    *,
    state: ProcessState,
    doing: str | None,
    broker_error: str | None,
    still: float,
    own: Report | None = None,
) -> None:
    """Store a scheduler's heartbeat; its last round ended `still` seconds ago."""
    values = {"state": state.value, "doing": doing, "broker_error": broker_error, "still": still}
    stored = own.to_json() if own else None
    with database.write() as tx:
        tx.run(REPORT_SCHEDULER, **asdict(who), **values, report=stored)


def report_process(
    database: Database, who: ProcessIdentity, state: ProcessState, own: Report
) -> None:
    """Store the heartbeat of a dashboard or a supervisor."""
    values = {**asdict(who), "state": state.value, "report": own.to_json()}
    with database.write() as tx:
        tx.run(REPORT_PROCESS, **values)


def clock_offset(database: Database) -> float:
    """Measure how many seconds this machine's clock is ahead of the database's."""
    with database.read() as tx:
        before = time.time()
        now = tx.now()
        after = time.time()
    # It was read at some time in between; whatever fits is no offset.
    return before - now if now < before else min(0.0, after - now)


def delete_unseen(database: Database, age: float) -> None:
    """Delete processes that were not seen for `age` seconds."""
    with database.write() as tx:
        for statement in (DELETE_WORKERS, DELETE_SCHEDULERS, DELETE_PROCESSES):
            tx.run(statement, age=age)


def trace_seed(database: Database) -> Callable[[int], str]:
    """Make the seed for `jobs.processes.traces`, the time at which a job was submitted."""
    created = "SELECT created_at FROM job WHERE id = :id"
    return lambda job_id: repr(database.value(created, id=job_id))


def _read(database: Database, settings: Settings, query: str) -> list[dict[str, Any]]:
    """Read processes, with `alive` and `condition` in place of `beat_seconds` and `uptime`."""
    heard = database.heard_seconds
    rows = [_with_condition(dict(row), settings, heard) for row in database.rows(query)]
    return [{**row, "report": report.parse(row["report"])} for row in rows]


def _with_condition(row: dict[str, Any], settings: Settings, heard: float) -> dict[str, Any]:
    # Nothing was heard of a process before the database answered, or before it did so again.
    missed = min(row["silent"], row.pop("uptime"), heard)
    # Workers of earlier versions report neither this nor progress.
    interval = row.pop("beat_seconds")
    condition = ProcessState(row["state"])
    if condition is not ProcessState.STOPPED:
        if missed > dead_after(interval or settings.heartbeat_seconds):
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
