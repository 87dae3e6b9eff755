"""The checks of `headwise doctor`."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version

from cli.devices import driver_devices
from db.console.console import Console
from db.database import Database
from db.ops import fleet
from db.queue.sql import FINAL
from db.upgrades import SchemaState
from jobs.errors import HeadwiseError, UnavailableError
from jobs.formatting import size
from jobs.settings import Settings
from jobs.space import spaces
from scheduler.broker import ping

OFFSET_SECONDS = 5.0
UNFINISHED = f"SELECT COUNT(*) FROM job WHERE state NOT IN {FINAL} AND state <> 'deleting'"  # noqa: S608


class Level(StrEnum):
    """The seriousness of a finding."""

    OK = "ok"
    WARN = "warn"
    """Something is missing that nothing needs yet."""
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    name: str
    level: Level
    detail: str

    @property
    def ok(self) -> bool:
        """True unless it failed."""
        return self.level is not Level.FAIL


class Doubt(HeadwiseError):  # noqa: N818 - no error
    """Raised by a check that warns."""


def examine(settings: Settings) -> list[Finding]:
    """Run every check; those that read the database only if it can be used."""
    findings = [_find(name, check, settings) for name, check in CHECKS.items()]
    if any(one.name == "database" and one.level is Level.OK for one in findings):
        findings += [_find(name, check, settings) for name, check in IN_DATABASE.items()]
    return findings


def _find(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    level = Level.OK
    try:
        detail = check(settings)
    except Doubt as error:
        level, detail = Level.WARN, str(error)
    except (HeadwiseError, OSError) as error:
        level, detail = Level.FAIL, str(error)
    return Finding(name=name, level=level, detail=detail)


def _python(_: Settings) -> str:
    return f"{platform.python_version()} on {platform.platform()}"


def _folder(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.home, os.W_OK):
        raise UnavailableError(f"{settings.home} cannot be written; set HEADWISE_HOME")
    return str(settings.home)


def _disks(settings: Settings) -> str:
    found = list(spaces(settings))
    if short := [one.shortage for one in found if one.shortage]:
        raise UnavailableError(" ".join(short))
    return "; ".join(f"{size(one.free)} free for {one.folder}" for one in found)


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    """The database, if it has a schema that this code reads. Raises Doubt or UnavailableError."""
    database = Database(settings.database)
    try:
        state = database.schema_state()
        if state is SchemaState.EMPTY:
            raise Doubt("no tables yet: `headwise migrate` or `headwise up` makes them")
        if not state.fits:
            raise UnavailableError(f"{database.dialect}: {database.describe_schema()}")
        yield database
    finally:
        database.close()


def _database(settings: Settings) -> str:
    with _opened(settings) as database:
        return f"{database.dialect}, {database.describe_schema()}"


def _console(settings: Settings) -> str:
    with _opened(settings) as database:
        if database.dialect == "postgresql" and not settings.console_url:
            raise Doubt("off: `headwise doctor --create-console-role` makes its role")
        Console(settings).run("SELECT 1")
        return "answers"


def _clock(settings: Settings) -> str:
    with _opened(settings) as database, database.read() as tx:
        offset = time.time() - tx.now()
    if abs(offset) > OFFSET_SECONDS:
        raise Doubt(
            f"this machine's is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the "
            "database's, which is the one that counts; logs will look out of order"
        )
    return "agrees with the database's"


def _broker(settings: Settings) -> str:
    return f"{ping(settings)} answers"


def _schedulers(settings: Settings) -> str:
    with _opened(settings) as database:
        alive = [one for one in fleet.list_schedulers(database, settings) if one.alive]
        _check(database, settings, "scheduler", len(alive))
        return f"{len(alive)} alive: {', '.join(sorted(one.host for one in alive))}"


def _workers(settings: Settings) -> str:
    with _opened(settings) as database:
        alive = [w for w in fleet.list_workers(database, settings) if w.alive]
        _check(database, settings, "workers", len(alive))
    places = Counter(f"{w.device} for {w.queue.replace(',', ', ')}" for w in alive)
    listed = "; ".join(f"{count} on {place}" for place, count in sorted(places.items()))
    return f"{len(alive)} alive: {listed}"


def _check(database: Database, settings: Settings, what: str, alive: int) -> None:
    """Raise for the notices about some processes, and where none is alive.

    That is a failure only where there are jobs that need one.
    """
    said = [
        f"{notice.message} {notice.remedy}"
        for notice in fleet.notices(database, settings)
        if notice.what == what
    ]
    if said and (alive or database.value(UNFINISHED)):
        raise UnavailableError(" ".join(said))
    if not alive:
        raise Doubt("none alive, and no job needs one; `headwise up` starts everything")


def _releases(settings: Settings) -> str:
    own = version("headwise")
    with _opened(settings) as database:
        alive = [w for w in fleet.list_workers(database, settings) if w.alive]
    others = Counter(json.loads(w.versions).get("headwise", "unknown") for w in alive)
    listed = ", ".join(f"{release} ({count})" for release, count in sorted(others.items()))
    if others.keys() - {own}:
        raise Doubt(f"this is {own}, and there are workers of {listed}")
    return f"all of {own}"


def _packages(_: Settings) -> str:
    found = []
    for name in ("headwise", "torch", "transformers", "datasets", "celery", "sqlalchemy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def _device(settings: Settings) -> str:
    if importlib.util.find_spec("torch") is None:
        return "no torch here: this installation can serve and schedule, not compute"
    gpus = ", ".join(driver_devices()) or "no GPU that nvidia-smi lists"
    serves = settings.served_queues.replace(",", ", ")
    return f"{settings.device}, for {serves}; {gpus}; {os.cpu_count()} CPU cores"


CHECKS: dict[str, Callable[[Settings], str]] = {
    "python": _python,
    "packages": _packages,
    "device": _device,
    "data folder": _folder,
    "disks": _disks,
    "broker": _broker,
    "database": _database,
}
IN_DATABASE: dict[str, Callable[[Settings], str]] = {
    "SQL console": _console,
    "clock": _clock,
    "schedulers": _schedulers,
    "workers": _workers,
    "releases": _releases,
}
