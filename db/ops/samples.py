"""Samples: what queues, workers and users did over time, in coarse steps and without Prometheus.

The scheduler writes one row per queue, worker and user for every STEP that has ended. Attempts
are counted from their rows, by the time at which they ended, so that a step may be written late,
and its key makes a second writer's rows no rows. After FINE_SECONDS the steps become hours, and
after KEPT_SECONDS they are deleted.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import insert

from db.database import Database
from db.ops import fleet
from db.ops.fleet import Worker
from db.reads import backlog
from db.schema import sample
from db.transaction import Transaction
from jobs.settings import Settings

STEP = 300
"""Seconds of a step."""
HOUR = 3_600
FINE_SECONDS = 2 * 86_400
"""Age at which steps become hours."""
KEPT_SECONDS = 30 * 86_400
CATCH_UP_SECONDS = 86_400
"""Time that is written afterwards if no scheduler ran; less than FINE_SECONDS."""
SETTLE_SECONDS = 30
"""Time after the end of a step in which attempts that ended in it may still be committed."""
STEPS_AT_ONCE = 12
"""Most steps that one call writes."""


class Subject(StrEnum):
    """The subject of a sample."""

    QUEUE = "queue"
    WORKER = "worker"
    USER = "user"


_SUBJECTS = tuple(subject.value for subject in Subject)
_SUMS = ("attempts", "failures", "examples", "seconds")
_MOST = ("ready", "waiting", "leased", "oldest", "memory", "device_memory")
"""Columns of which several steps show the largest value; of `workers` they show the smallest."""

WRITTEN = """
SELECT starts_at + step FROM sample WHERE subject = 'queue' ORDER BY starts_at DESC LIMIT 1
"""
"""The end of the last step that was written: each has a row of a queue."""

ENDED = """
SELECT a.worker, j.queue, j.user_name AS "user", COUNT(*) AS attempts,
    SUM(CASE WHEN a.outcome IN ('error', 'lost') THEN 1 ELSE 0 END) AS failures,
    SUM(COALESCE(a.examples, 0)) AS examples, SUM(a.finished_at - a.started_at) AS seconds
FROM attempt a JOIN job j ON j.id = a.job_id
WHERE a.finished_at >= :lo AND a.finished_at < :hi
GROUP BY a.worker, j.queue, j.user_name
"""
"""The attempts that ended in a step."""

LOCK = 7231
"""PostgreSQL: only one scheduler writes at a time, and none waits for another."""

OLDEST_FINE = """
SELECT MIN(starts_at) FROM sample WHERE subject IN :subjects AND starts_at < :until AND step < :hour
"""
_FINE = """
FROM sample
WHERE subject IN :subjects AND starts_at >= :lo AND starts_at < :hi AND step < :hour
"""
FINE = f"SELECT * {_FINE}"
DELETE_FINE = f"DELETE {_FINE}"
FORGET = "DELETE FROM sample WHERE subject IN :subjects AND starts_at < :until"

SERIES = f"""
SELECT name, starts_at / :step * :step AS starts_at,
    {", ".join(f"SUM({name}) AS {name}" for name in _SUMS)},
    {", ".join(f"MAX({name}) AS {name}" for name in _MOST)}, MIN(workers) AS workers
FROM sample WHERE subject = :subject AND starts_at >= :since
GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608 - constants of this file
SERIES_OF_ONE = SERIES.replace("WHERE", "WHERE name = :name AND")
TOTALS = f"""
SELECT name, {", ".join(f"SUM({name}) AS {name}" for name in _SUMS)}
FROM sample WHERE subject = :subject AND starts_at >= :since GROUP BY name
"""  # noqa: S608 - constants of this file


@dataclass(frozen=True, kw_only=True)
class Total:
    """Attempts that ended in some time."""

    attempts: int = 0
    failures: int = 0
    """Attempts that raised an error or lost their lease."""
    examples: int = 0
    """Examples whose results were stored."""
    seconds: float = 0.0
    """From the claim of a shard to the end of the attempt, summed."""

    @property
    def rate(self) -> float | None:
        """Examples per second of work; None without any."""
        return self.examples / self.seconds if self.seconds > 0 else None


NOTHING = Total()


@dataclass(frozen=True, kw_only=True)
class Sample(Total):
    """A queue, a worker or a user in a step of time; None where no scheduler looked."""

    starts_at: int
    """Its beginning, seconds since 1970."""
    ready: int | None = None
    """Shards that waited when the step ended."""
    waiting: int | None = None
    """Examples of those."""
    leased: int | None = None
    oldest: float | None = None
    """Seconds that the oldest shard had waited."""
    workers: int | None = None
    """Workers of the queue that were alive."""
    memory: int | None = None
    """Resident memory of the worker, in bytes."""
    device_memory: int | None = None
    """Memory of its GPU that it had reserved, in bytes."""


def take(database: Database, settings: Settings) -> bool:
    """Write the steps that have ended, STEPS_AT_ONCE at most; True if there are more to write."""
    with database.read() as tx:
        ended = int((tx.now() - SETTLE_SECONDS) // STEP) * STEP
        written = tx.run(WRITTEN).scalar()
        since = max(written or 0, ended - CATCH_UP_SECONDS)
        steps = range(since, ended, STEP)
        if not steps:
            return False
        rows: list[dict[str, Any]] = []
        for at in steps[:STEPS_AT_ONCE]:
            found = _ended(tx, at, settings.queue)
            if at == steps[-1]:
                _look(tx, database, settings, found)
            rows += _rows(found, at)
    with database.write() as tx:
        if not tx.try_lock(LOCK) or tx.run(WRITTEN).scalar() != written:
            return False
        tx.execute(insert(sample), rows)
    return len(steps) > STEPS_AT_ONCE


def thin(database: Database, seconds: float) -> bool:
    """Delete old rows and make hours of fine ones for that long; True if there are more."""
    until = time.monotonic() + seconds
    with database.write() as tx:
        now = int(tx.now())
        if not tx.try_lock(LOCK):
            return False
        tx.run(FORGET, subjects=_SUBJECTS, until=now - KEPT_SECONDS)
    fine = {"subjects": _SUBJECTS, "hour": HOUR}
    cut = (now - FINE_SECONDS) // HOUR * HOUR
    while (oldest := database.value(OLDEST_FINE, **fine, until=cut)) is not None:
        if time.monotonic() > until:
            return True
        at = oldest // HOUR * HOUR
        hour = {**fine, "lo": at, "hi": at + HOUR}
        rows = _hour(database.rows(FINE, **hour), at)
        with database.write() as tx:
            if not tx.try_lock(LOCK):
                return False
            # Steps of so long ago change no more: another scheduler has taken all of them, or none.
            if tx.run(DELETE_FINE, **hour).rowcount:
                tx.execute(insert(sample), rows)
    return False


def read_series(
    database: Database, subject: Subject, since: float, step: int, name: str = ""
) -> dict[str, list[Sample]]:
    """Read samples by name in steps of so many seconds, a multiple of STEP."""
    values = {"subject": subject.value, "since": int(since), "step": step, "name": name}
    found: dict[str, list[Sample]] = defaultdict(list)
    for row in database.rows(SERIES_OF_ONE if name else SERIES, **values):
        found[row["name"]].append(Sample(**_whole(row)))
    return dict(found)


def read_totals(database: Database, subject: Subject, since: float) -> dict[str, Total]:
    """Add samples up by name."""
    rows = database.rows(TOTALS, subject=subject.value, since=int(since))
    return {row["name"]: Total(**_whole(row)) for row in rows}


def added(those: Iterable[Total]) -> Total:
    """Add up what was done in several times."""
    listed = list(those)
    return Total(**{name: sum(getattr(one, name) for one in listed) for name in _SUMS})


def served(workers: Iterable[Worker]) -> Counter[str]:
    """Count the workers that serve each queue; one of several queues counts in each."""
    return Counter(queue.strip() for worker in workers for queue in worker.queue.split(","))


def _whole(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row without its name; PostgreSQL adds bigint up to numeric."""
    real = ("seconds", "oldest")
    return {
        key: value if value is None else float(value) if key in real else int(value)
        for key, value in row.items()
        if key != "name"
    }


_Found = dict[tuple[str, str], dict[str, Any]]
"""Columns by subject and name."""


def _ended(tx: Transaction, at: int, queue: str) -> _Found:
    """Count the attempts that ended in a step; the queue has a row in any case."""
    found: _Found = defaultdict(_empty, {(Subject.QUEUE, queue): _empty()})
    for row in tx.rows(ENDED, lo=at, hi=at + STEP):
        for subject in Subject:
            columns = found[subject, row[subject.value]]
            for name in _SUMS:
                columns[name] += row[name]
    return found


def _empty() -> dict[str, Any]:
    return dict.fromkeys(_SUMS, 0) | dict.fromkeys((*_MOST, "workers"))


def _look(tx: Transaction, database: Database, settings: Settings, found: _Found) -> None:
    """Add what waits and runs now, and the workers that are alive."""
    alive = [one for one in fleet.list_workers(database, settings) if one.alive]
    waits = backlog.by_queue(backlog.read_backlog(tx))
    at_work = served(alive)
    queues = {*waits, *at_work, *(name for subject, name in found if subject == Subject.QUEUE)}
    for queue in queues:
        one = waits.get(queue)
        found[Subject.QUEUE, queue] |= {
            "ready": one.ready if one else 0,
            "waiting": one.waiting if one else 0,
            "leased": one.leased if one else 0,
            "oldest": (one.oldest if one else None) or 0.0,
            "workers": at_work[queue],
        }
    for worker in alive:
        columns = found[Subject.WORKER, worker.name]
        for name, key in (("memory", "memory"), ("device_memory", "device_reserved")):
            if key in worker.resource_usage:
                columns[name] = int(worker.resource_usage[key])


def _rows(found: _Found, at: int, step: int = STEP) -> Iterable[dict[str, Any]]:
    # Always in the same order, as every table that several processes write.
    for (subject, name), columns in sorted(found.items(), key=lambda pair: pair[0]):
        yield {"subject": str(subject), "name": name, "starts_at": at, "step": step, **columns}


def _hour(rows: Iterable[Mapping[Any, Any]], at: int) -> list[dict[str, Any]]:
    """One row of an hour for the steps of each name."""
    found: _Found = defaultdict(_empty)
    for row in rows:
        columns = found[row["subject"], row["name"]]
        for name in _SUMS:
            columns[name] += row[name]
        for names, choose in ((_MOST, max), (("workers",), min)):
            for name in names:
                known = [value for value in (columns[name], row[name]) if value is not None]
                columns[name] = choose(known, default=None)
    return list(_rows(found, at, HOUR))
