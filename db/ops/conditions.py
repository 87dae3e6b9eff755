"""The conditions of an installation: what works, what does not, and the remedy.

`headwise doctor`, notices on pages, `/readyz` and `/metrics` show them, so all of them know the
same. What only a process itself can see (its disks, its clock) comes from its heartbeats.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from db.database import Database
from db.ops import fleet
from db.ops.fleet import Process, ProcessState, Scheduler, Worker
from db.queue.sql import FINAL
from db.upgrades import SchemaState
from jobs.errors import UnavailableError, UnwritableError
from jobs.formatting import size
from jobs.processes.report import Report, measure
from jobs.processes.space import Space
from jobs.settings import Settings

FAILING = 3
"""Ends in a row right after its start that make a crash loop."""
OFFSET_SECONDS = 5.0
"""A clock that is wrong by more is said to be."""
WAITING_JOBS = f"""
SELECT queue, COUNT(*) AS jobs, SUM(CASE WHEN state = 'running' AND control = 'run' THEN 1 ELSE 0
    END) AS running
FROM job WHERE state NOT IN {FINAL} AND state <> 'deleting' GROUP BY queue
"""  # noqa: S608 - a constant


class Level(StrEnum):
    """The seriousness of a condition."""

    OK = "ok"
    NOTE = "note"
    """Something is missing that nothing needs yet."""
    WARN = "warn"
    """Something is wrong, and jobs go on."""
    FAIL = "fail"
    """Something is wrong, and jobs or users wait for it."""


class Subject(StrEnum):
    """The things that have a condition."""

    DATABASE = "database"
    DISK = "disk"
    SCHEDULER = "scheduler"
    BROKER = "broker"
    WORKERS = "workers"
    CRASHES = "crash loops"
    CLOCK = "clocks"
    CONSOLE = "SQL console"
    RELEASES = "releases"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The condition of one thing; a thing may have several that are not ok."""

    subject: Subject
    level: Level
    message: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A condition that users are told of on every page."""

    what: str
    """The condition: disk, scheduler, broker, workers, ..."""
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The basis of conditions: the processes as last heard of, and the jobs they have."""

    schedulers: Sequence[Scheduler]
    workers: Sequence[Worker]
    processes: Sequence[Process]
    reports: Sequence[tuple[str, Report]]
    """Host, empty for this one, and report of all that is alive; this process's own first."""
    jobs: dict[str, tuple[int, int]]
    """Unfinished jobs of each queue, and those of them that run."""
    unheard: bool
    """True if heartbeats cannot be stored, so that silence means nothing."""

    @property
    def alive(self) -> list[Scheduler]:
        """The schedulers that are alive."""
        return [one for one in self.schedulers if one.alive]

    @property
    def live_workers(self) -> list[Worker]:
        """The workers that are alive."""
        return [one for one in self.workers if one.alive]

    @property
    def live_processes(self) -> list[Process]:
        """The dashboards and supervisors that are alive."""
        return [one for one in self.processes if one.alive]

    @property
    def disks(self) -> list[tuple[str, Space]]:
        """Hosts and the space on their disks, the least last."""
        found = [(host, one) for host, report in self.reports for one in report.disks]
        return sorted(found, key=lambda item: item[1].free, reverse=True)

    @property
    def clocks(self) -> dict[str, float]:
        """Seconds that the clock of each host is ahead; the most that a process there says."""
        found = [
            (host, one.clock_offset) for host, one in self.reports if one.clock_offset is not None
        ]
        return dict(sorted(found, key=lambda item: abs(item[1])))

    @property
    def failures(self) -> list[tuple[str, str, int]]:
        """Processes that have just ended right after their start: name, host, how often in a row.

        From supervisors, or from the processes themselves once they start.
        """
        supervised = [one for one in self.live_processes if one.report.failing]
        hosts = {one.host for one in supervised}
        roles: list[tuple[str, Scheduler | Worker | Process]] = [
            *(("worker", one) for one in self.live_workers),
            *(("scheduler", one) for one in self.alive),
            *((one.role, one) for one in self.live_processes),
        ]
        return [
            *((name, one.host, n) for one in supervised for name, n in one.report.failing.items()),
            *(
                (role, one.host, one.report.failures)
                for role, one in roles
                if one.report.failures and one.host not in hosts
            ),
        ]


def examine(database: Database, settings: Settings, own: Report | None = None) -> list[Condition]:
    """Find the conditions of everything, also of a database that does not answer.

    own: the report of this process; by default it is measured here
    """
    own = own or measure(settings)
    try:
        if not (state := database.schema_state()).fits:
            message = f"{database.dialect}: {database.describe_schema()}"
            level = Level.WARN if state is SchemaState.EMPTY else Level.FAIL
            schema = Condition(subject=Subject.DATABASE, level=level, message=message)
            return [schema, *_disks([("", one) for one in own.disks])]
        described = f"{database.dialect}, {database.describe_schema()}"
        return [
            _ok(Subject.DATABASE, described),
            *judge(database, settings, look(database, settings, own)),
        ]
    except UnavailableError as error:
        remedy = "Start it, or check HEADWISE_DATABASE_URL."
        away = _fail(Subject.DATABASE, _sentence(str(error)), remedy)
        return [away, *_disks([("", one) for one in own.disks])]


def notices(database: Database, settings: Settings) -> list[Notice]:
    """List what is wrong, and the remedies. Raises UnavailableError."""
    return [
        Notice(what=one.subject, message=one.message, remedy=one.remedy)
        for one in judge(database, settings, look(database, settings, measure(settings)))
        if one.level in (Level.WARN, Level.FAIL)
    ]


def worst(conditions: Sequence[Condition]) -> dict[Subject, Level]:
    """The most serious level of each thing."""
    order = list(Level)
    found: dict[Subject, Level] = {}
    for one in conditions:
        found[one.subject] = max(found.get(one.subject, Level.OK), one.level, key=order.index)
    return found


def look(database: Database, settings: Settings, own: Report) -> Seen:
    """Read what conditions follow from. Raises UnavailableError."""
    schedulers = fleet.list_schedulers(database, settings)
    workers = fleet.list_workers(database, settings)
    processes = fleet.list_processes(database, settings)
    everyone: list[Scheduler | Worker | Process] = [*schedulers, *workers, *processes]
    here = socket.gethostname()
    others = (("" if one.host == here else one.host, one.report) for one in everyone if one.alive)
    return Seen(
        schedulers=schedulers,
        workers=workers,
        processes=processes,
        reports=[("", own), *others],
        jobs={row["queue"]: (row["jobs"], row["running"]) for row in database.rows(WAITING_JOBS)},
        unheard=database.write_error is not None,
    )


def judge(database: Database, settings: Settings, seen: Seen) -> list[Condition]:
    """Find the conditions of everything in a database that answers."""
    return [
        *_writing(database.write_error),
        *_disks(seen.disks),
        *(_unheard() if seen.unheard else _schedulers(seen)),
        *_broker(seen),
        *(() if seen.unheard else _workers(seen)),
        *_crashes(seen),
        *_clocks(seen.clocks),
        *_console(database, settings, seen.reports),
        *_releases(seen),
    ]


def _ok(subject: Subject, message: str) -> Condition:
    return Condition(subject=subject, level=Level.OK, message=message)


def _fail(subject: Subject, message: str, remedy: str) -> Condition:
    return Condition(subject=subject, level=Level.FAIL, message=message, remedy=remedy)


def _sentence(text: str) -> str:
    return f"{text.strip().rstrip('.')}."


def _writing(error: UnwritableError | None) -> Iterator[Condition]:
    if error is not None and error.disk_full:
        message = f"The disk of the database is full. {_sentence(str(error))}"
        yield _fail(Subject.DISK, message, "Free some space; nothing is stored until then.")
    elif error is not None:
        remedy = "Make it writable, or check HEADWISE_DATABASE_URL."
        yield _fail(Subject.DATABASE, _sentence(str(error)), remedy)


def _disks(found: Sequence[tuple[str, Space]]) -> Iterator[Condition]:
    """One condition for each disk without space; all processes of a host see the same disks."""
    disks = {(host, one.disk): one for host, one in found}
    remedy = "Free some; `headwise purge` removes what is old, `headwise compact` shrinks."
    short = [text for (host, _), one in disks.items() if (text := one.shortage(host))]
    for message in short:
        yield _fail(Subject.DISK, message, remedy)
    if not short:
        listed = (
            f"{size(one.free)} free for {one.folder}{f' on {host}' if host else ''}"
            for (host, _), one in sorted(disks.items(), key=lambda item: item[0])
        )
        yield _ok(Subject.DISK, "; ".join(listed))


def _unheard() -> Iterator[Condition]:
    """Nobody can say that he is alive: not a word about who is."""
    for subject in (Subject.SCHEDULER, Subject.WORKERS):
        message = "unknown: heartbeats cannot be stored"
        yield Condition(subject=subject, level=Level.NOTE, message=message)


def _schedulers(seen: Seen) -> Iterator[Condition]:
    alive = seen.alive
    if not alive:
        last = f" The last one was seen on {seen.schedulers[0].host}." if seen.schedulers else ""
        yield Condition(
            subject=Subject.SCHEDULER,
            level=Level.FAIL if seen.jobs else Level.WARN,
            message="No scheduler is running: jobs are not planned or finished, and shards are not "
            f"taken back from dead workers.{last}",
            remedy="Start one with `headwise scheduler`, or everything with `headwise up`.",
        )
    elif all(one.condition is ProcessState.STALLED for one in alive):
        doing = f" (it is {alive[0].doing})" if alive[0].doing else ""
        message = (
            f"The scheduler on {alive[0].host} has not ended a round for "
            f"{alive[0].still:.0f} s{doing}."
        )
        remedy = "Start a second one meanwhile: `headwise scheduler`."
        yield _fail(Subject.SCHEDULER, message, remedy)
    else:
        hosts = ", ".join(sorted(one.host for one in alive))
        yield _ok(Subject.SCHEDULER, f"{len(alive)} alive: {hosts}")


def _broker(seen: Seen) -> Iterator[Condition]:
    alive = seen.alive
    if alive and all(one.broker_error for one in alive):
        error = _sentence(alive[0].broker_error or "")
        message = (
            f"The broker {alive[0].broker} does not work: running workers continue, idle ones are "
            "not woken."
        )
        yield _fail(Subject.BROKER, message, f"Start it, or check HEADWISE_BROKER_URL. {error}")
    elif alive:
        yield _ok(Subject.BROKER, f"{alive[0].broker} takes messages")


def _workers(seen: Seen) -> Iterator[Condition]:
    served = {name.strip() for worker in seen.live_workers for name in worker.queue.split(",")}
    left = {queue: n for queue, (_, n) in seen.jobs.items() if n and queue not in served}
    for queue, jobs in left.items():
        message = (
            f"No worker of the queue {queue} is alive: "
            f"{jobs} running job{'s wait' if jobs > 1 else ' waits'} for one."
        )
        remedy = "Start one with `headwise worker`, on this machine or another."
        yield _fail(Subject.WORKERS, message, remedy)
    if left:
        return
    if not seen.live_workers:
        message = "none alive, and no job needs one; `headwise up` starts everything"
        yield Condition(subject=Subject.WORKERS, level=Level.NOTE, message=message)
        return
    places = Counter(f"{w.device} for {w.queue.replace(',', ', ')}" for w in seen.live_workers)
    listed = "; ".join(f"{count} on {place}" for place, count in sorted(places.items()))
    yield _ok(Subject.WORKERS, f"{len(seen.live_workers)} alive: {listed}")


def _crashes(seen: Seen) -> Iterator[Condition]:
    loops = [found for found in seen.failures if found[2] >= FAILING]
    for name, host, times in loops:
        message = (
            f"A process keeps failing, {name} on {host}: it ended {times} times in a row right "
            "after its start."
        )
        yield _fail(Subject.CRASHES, message, "Read the output of the command that started it.")
    if not loops:
        yield _ok(Subject.CRASHES, "none")


def _clocks(offsets: Mapping[str, float]) -> Iterator[Condition]:
    wrong = {host: off for host, off in offsets.items() if abs(off) > OFFSET_SECONDS}
    for host, offset in wrong.items():
        yield Condition(
            subject=Subject.CLOCK,
            level=Level.WARN,
            message=f"The clock of {host or 'this machine'} is {abs(offset):.0f} s "
            f"{'ahead of' if offset > 0 else 'behind'} the database's, which is the one that "
            "counts; logs will look out of order.",
            remedy="Let a time service set it.",
        )
    if not wrong:
        yield _ok(Subject.CLOCK, "agree with the database's")


def _console(
    database: Database, settings: Settings, reports: Sequence[tuple[str, Report]]
) -> Iterator[Condition]:
    broken = {(host, one.console_error) for host, one in reports if one.console_error}
    for host, error in sorted(broken):
        message = f"The SQL console does not work{f' on {host}' if host else ''}: {error}"
        remedy = "`headwise doctor --create-console-role` makes its role again."
        yield _fail(Subject.CONSOLE, _sentence(message), remedy)
    if broken:
        return
    if database.dialect == "postgresql" and not settings.console_url:
        message = "off: `headwise doctor --create-console-role` makes its role"
        yield Condition(subject=Subject.CONSOLE, level=Level.NOTE, message=message)
    else:
        yield _ok(Subject.CONSOLE, "no error reported")


def _releases(seen: Seen) -> Iterator[Condition]:
    """The releases that run; processes of releases that report none are left out."""
    found = Counter(one.version for _, one in seen.reports[1:] if one.version)
    own = seen.reports[0][1].version
    others = sum(n for release, n in found.items() if release != own)
    listed = ", ".join(f"{release} ({n})" for release, n in sorted(found.items()))
    if others:
        yield Condition(
            subject=Subject.RELEASES,
            level=Level.WARN,
            message=f"Processes of several releases run: this is {own}, others are {listed}.",
            remedy="Finish the upgrade: restart the others with this release.",
        )
    else:
        yield _ok(Subject.RELEASES, f"all of {own}")
