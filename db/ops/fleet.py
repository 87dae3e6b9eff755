"""The fleet: workers, schedulers and the broker at their last heartbeats, by the database's clock.

A process that misses two heartbeats is considered dead. A shard is stalled if it makes no progress
although its worker is alive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from db.database import Database
from db.reads.jobs import Shard
from jobs.settings import Settings

WORKERS = """
SELECT w.name, w.host, w.pid, w.queue, w.device, w.versions, w.state, w.job_id,
    w.shard_no AS shard, w.started_at, w.seen_at, w.beat_seconds, w.vitals AS resource_usage,
    {clock} - w.seen_at AS silent, {clock} - s.moved_at AS still
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
SELECT queue, COUNT(*) FROM job WHERE state = 'running' AND control = 'run' GROUP BY queue
"""

SCHEDULER_BEAT = """
INSERT INTO scheduler (name, host, pid, state, doing, broker, broker_error,
                       started_at, seen_at, moved_at, beat_seconds)
VALUES (:name, :host, :pid, :state, :doing, :broker, :broker_error,
        {clock}, {clock}, {clock} - :still, :beat_seconds)
ON CONFLICT (name) DO UPDATE SET state = excluded.state, doing = excluded.doing,
    broker_error = excluded.broker_error, seen_at = excluded.seen_at, moved_at = excluded.moved_at
"""
"""Record that a scheduler is alive, what it is doing, and whether it reaches the broker."""

PRUNE_SCHEDULERS = "DELETE FROM scheduler WHERE seen_at < {clock} - :age"


IDLE, BUSY, STALLED, STOPPED, DEAD = "idle", "busy", "stalled", "stopped", "dead"


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker process at its last heartbeat."""

    name: str
    host: str
    pid: int
    queue: str
    device: str
    versions: str
    state: str
    job_id: int | None
    shard: int | None
    started_at: float
    seen_at: float
    silent: float
    """Seconds since its last heartbeat, by the database's clock."""
    still: float | None
    """Seconds since its shard made progress."""
    resource_usage: dict[str, float]
    """See `workers.resource_usage`."""
    alive: bool
    condition: str
    """idle, busy, stalled, stopped or dead."""


@dataclass(frozen=True, kw_only=True)
class SchedulerIdentity:
    """The identity of a scheduler process, and the broker that it uses."""

    name: str
    host: str
    pid: int
    broker: str
    beat_seconds: float


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
    """Why it could not reach the broker."""
    started_at: float
    seen_at: float
    silent: float
    still: float
    """Seconds since its last round ended, by the database's clock."""
    alive: bool
    condition: str
    """running, stalled, stopped or dead."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that jobs wait for, as users read it."""

    what: str
    """scheduler, broker or workers."""
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
    return [_worker(dict(row), settings) for row in _rows(database, WORKERS)]


def list_schedulers(database: Database, settings: Settings) -> list[Scheduler]:
    """List schedulers, most recently seen first."""
    found = []
    for row in _rows(database, SCHEDULERS):
        alive = row["state"] != STOPPED and row["silent"] <= dead_after(row["beat_seconds"])
        condition = STOPPED if row["state"] == STOPPED else DEAD
        if alive:
            # The time since the last heartbeat is no sign that it hangs.
            hangs = row["still"] - row["silent"] > settings.stall_warn_seconds
            condition = STALLED if hangs else "running"
        values = {key: value for key, value in row.items() if key != "beat_seconds"}
        found.append(Scheduler(**values, alive=alive, condition=condition))
    return found


def shard_condition(shard: Shard, settings: Settings) -> str | None:
    """Return `stalled` or `dead` for a leased shard without progress, or with a silent worker."""
    if shard.silent is None:
        return None
    if shard.silent > dead_after(shard.beat_seconds or settings.heartbeat_seconds):
        return DEAD
    known = shard.beat_seconds is not None and _stalled(shard.still, shard.silent, settings)
    return STALLED if known else None


def scheduler_beat(
    database: Database,
    who: SchedulerIdentity,
    *,
    state: str,
    doing: str | None,
    broker_error: str | None,
    still: float,
) -> None:
    """Record that the scheduler is alive, and that its last round ended `still` seconds ago."""
    said = {"state": state, "doing": doing, "broker_error": broker_error, "still": still}
    with database.write() as tx:
        tx.run(SCHEDULER_BEAT, **asdict(who), **said)


def prune_schedulers(database: Database, age: float) -> None:
    """Remove schedulers that were not seen for `age` seconds."""
    with database.write() as tx:
        tx.run(PRUNE_SCHEDULERS, age=age)


def notices(database: Database, settings: Settings) -> list[Notice]:
    """List what jobs wait for, and the remedy: a scheduler, the broker, workers of a queue."""
    schedulers = list_schedulers(database, settings)
    alive = [one for one in schedulers if one.alive]
    found = _scheduler_notices(schedulers, alive)
    unreached = [one for one in alive if one.broker_error]
    if unreached and len(unreached) == len(alive):
        found.append(
            Notice(
                what="broker",
                message=f"The broker {unreached[0].broker} does not answer: running workers go on, "
                "idle ones are not woken.",
                remedy=f"Start it, or check HEADWISE_BROKER_URL. {unreached[0].broker_error}",
            )
        )
    served = {
        name.strip()
        for worker in list_workers(database, settings)
        if worker.alive
        for name in worker.queue.split(",")
    }
    with database.read() as tx:
        rows = tx.run(RUNNING_QUEUES).all()
    found += [
        Notice(
            what="workers",
            message=f"No worker of the queue {queue} is alive: "
            f"{number} running job{'s wait' if number > 1 else ' waits'} for one.",
            remedy="Start one with `headwise worker`, on this machine or on another.",
        )
        for queue, number in rows
        if queue not in served
    ]
    return found


def trace_seed(database: Database) -> Callable[[int], str]:
    """Make the seed for `jobs.traces`, the time at which a job was submitted."""

    def seed(job_id: int) -> str:
        with database.read() as tx:
            return repr(tx.run("SELECT created_at FROM job WHERE id = :id", id=job_id).scalar())

    return seed


def _scheduler_notices(every: Sequence[Scheduler], alive: Sequence[Scheduler]) -> list[Notice]:
    remedy = "Start one with `headwise scheduler`, or all with `headwise up`."
    if not alive:
        last = f" The last one was seen on {every[0].host}." if every else ""
        return [
            Notice(
                what="scheduler",
                message="No scheduler runs: jobs are not planned, finished or taken back from dead "
                f"workers.{last}",
                remedy=remedy,
            )
        ]
    if all(one.condition == STALLED for one in alive):
        doing = f" (it is {alive[0].doing})" if alive[0].doing else ""
        return [
            Notice(
                what="scheduler",
                message=f"The scheduler on {alive[0].host} has not ended a round for "
                f"{alive[0].still:.0f} s{doing}.",
                remedy="A second one goes on meanwhile: `headwise scheduler`.",
            )
        ]
    return []


def _worker(row: dict[str, Any], settings: Settings) -> Worker:
    told = row.pop("beat_seconds")  # workers of earlier versions report neither this nor progress
    beat = told or settings.heartbeat_seconds
    usage = json.loads(row.pop("resource_usage") or "{}")
    stopped = row["state"] == STOPPED
    alive = not stopped and row["silent"] <= dead_after(beat)
    condition = STOPPED if stopped else DEAD
    if alive:
        stalled = told is not None and _stalled(row["still"], row["silent"], settings)
        condition = STALLED if stalled else row["state"]
    return Worker(**row, resource_usage=usage, alive=alive, condition=condition)


def _stalled(still: float | None, silent: float, settings: Settings) -> bool:
    """Whether the shard had made no progress for long at the last heartbeat."""
    return still is not None and still - silent > settings.stall_warn_seconds


def _rows(database: Database, statement: str) -> list[dict[str, Any]]:
    with database.read() as tx:
        rows = tx.run(statement).mappings()
        return [dict(row) for row in rows]
