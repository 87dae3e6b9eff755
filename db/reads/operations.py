"""Queues, workers and users over time, as operators see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from db.database import Database
from db.ops import fleet, samples
from db.ops.fleet import Worker
from db.ops.samples import NOTHING, Sample, Subject, Total
from db.queue.usage import RECENT
from db.reads import backlog
from db.reads.backlog import Backlog
from jobs.settings import Settings

WEEK = 7 * 86_400


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue now and in a time."""

    name: str
    leased: int
    """Shards that run."""
    ready: int
    """Shards that wait."""
    waiting: int
    """Examples of those."""
    oldest: float | None
    """Seconds that the oldest of them has waited."""
    workers: int
    """Workers that are alive."""
    samples: list[Sample] = field(default_factory=list)

    @property
    def examples(self) -> int:
        """Examples that were stored in that time."""
        return sum(sample.examples for sample in self.samples)

    @property
    def failures(self) -> int:
        """Attempts in that time that raised an error or lost their lease."""
        return sum(sample.failures for sample in self.samples)


@dataclass(frozen=True, kw_only=True)
class WorkerTotal:
    """A worker and what it did in a time."""

    name: str
    worker: Worker | None
    """None if it has not been seen for a day."""
    total: Total

    @property
    def alive(self) -> bool:
        """True while it sends heartbeats."""
        return self.worker is not None and self.worker.alive


@dataclass(frozen=True, kw_only=True)
class User:
    """A user's part of the workers."""

    name: str
    recent: float
    """Seconds that workers computed for them, decayed: what fair shares are made of."""
    week: Total
    """In the last seven days."""
    leased: int
    waiting: int
    """Examples that wait."""


@dataclass(frozen=True, kw_only=True)
class Now:
    """Running and waiting work, and the workers: read once for several parts of a page."""

    backlog: list[Backlog]
    workers: list[Worker]


def read_now(database: Database, settings: Settings) -> Now:
    """Read the backlog and the workers."""
    return Now(
        backlog=backlog.read_backlog(database), workers=fleet.list_workers(database, settings)
    )


def read_queues(database: Database, now: Now, since: float, step: int) -> list[Queue]:
    """Read the queues since a time in steps of so many seconds, the busiest first."""
    series = samples.read_series(database, Subject.QUEUE, since, step)
    waits = backlog.by_queue(now.backlog)
    served = samples.served([worker for worker in now.workers if worker.alive])
    found = []
    for name in {*series, *waits, *served}:
        one = waits.get(name)
        found.append(
            Queue(
                name=name,
                leased=one.leased if one else 0,
                ready=one.ready if one else 0,
                waiting=one.waiting if one else 0,
                oldest=one.oldest if one else None,
                workers=served[name],
                samples=series.get(name, []),
            )
        )
    return sorted(found, key=lambda one: (-one.waiting - one.leased, -one.examples, one.name))


def read_workers(database: Database, now: Now, since: float) -> list[WorkerTotal]:
    """Read what workers did since a time; those of the last day are listed in any case."""
    totals: Mapping[str, Total] = samples.read_totals(database, Subject.WORKER, since)
    known = {worker.name: worker for worker in now.workers}
    return [
        WorkerTotal(name=name, worker=known.get(name), total=totals.get(name, NOTHING))
        for name in {**known, **totals}
    ]


def read_users(database: Database, now: Now) -> list[User]:
    """Read the shares of all users, those who used most in the last seven days first."""
    with database.read() as tx:
        since = tx.now() - WEEK
        recent = {row["user_name"]: float(row["seconds"]) for row in tx.rows(RECENT)}
    week = samples.read_totals(database, Subject.USER, since)
    waits = backlog.by_user(now.backlog)
    found = [
        User(
            name=name,
            recent=recent.get(name, 0.0),
            week=week.get(name, NOTHING),
            leased=waits[name].leased if name in waits else 0,
            waiting=waits[name].waiting if name in waits else 0,
        )
        for name in {*recent, *week, *waits}
    ]
    return sorted(found, key=lambda one: (-one.week.seconds, -one.recent, one.name))
