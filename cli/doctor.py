"""The checks of `headwise doctor`: this machine's own, then the installation's conditions."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from cli.devices import driver_devices
from db.console.console import find_fault
from db.database import Database
from db.ops import conditions, fleet
from db.ops.conditions import Level, Subject
from db.ops.fleet import ProcessState, Role
from db.ops.heartbeat import process_identity
from jobs.errors import HeadwiseError, UnavailableError
from jobs.processes.report import Report, measure
from jobs.settings import Settings
from scheduler.broker import ping


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


def examine(settings: Settings) -> list[Finding]:
    """Run every check."""
    return [
        *(_find(name, check, settings) for name, check in CHECKS.items()),
        *_sign_in(settings),
        *_conditions(settings),
    ]


def _find(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name=name, level=Level.OK, detail=check(settings))
    except (HeadwiseError, OSError) as error:
        return Finding(name=name, level=Level.FAIL, detail=str(error))


def _sign_in(settings: Settings) -> list[Finding]:
    """A warning where others may come, by a proxy, and nobody has said how they sign in."""
    given = {
        "HEADWISE_TRUSTED_HOSTS": settings.trusted_hosts,
        "HEADWISE_TRUSTED_PROXIES": settings.trusted_proxies,
    }
    named = " and ".join(name for name, value in given.items() if value)
    if settings.auth or not named:
        return []
    detail = (
        f"{named} let others reach the dashboard, but HEADWISE_AUTH is not set: they may do "
        "everything. Set it (docs/howto/accounts.md), or set it to none if that is intended."
    )
    return [Finding(name="sign-in", level=Level.WARN, detail=detail)]


def _conditions(settings: Settings) -> list[Finding]:
    """The conditions that all processes know, with what this one finds out."""
    try:
        database = Database(settings.database)
    except HeadwiseError as error:
        return [Finding(name=Subject.DATABASE, level=Level.FAIL, detail=str(error))]
    try:
        found = conditions.examine(database, settings, _report(database, settings))
    finally:
        database.close()
    # What schedulers say of the broker matters if they cannot use it; else it has been tried here.
    return [
        Finding(name=one.subject, level=one.level, detail=f"{one.message} {one.remedy}".strip())
        for one in found
        if one.subject is not Subject.BROKER or one.level is not Level.OK
    ]


def _report(database: Database, settings: Settings) -> Report:
    """Measure, try to store a heartbeat, and try the SQL console."""
    with suppress(UnavailableError):
        if database.schema_is_current():
            report = measure(
                settings,
                clock_offset=fleet.clock_offset(database),
                console_error=find_fault(settings),
            )
            who = process_identity(settings, Role.DOCTOR)
            with suppress(UnavailableError):  # the database knows why
                fleet.report_process(database, who, ProcessState.STOPPED, report)
            return report
    return measure(settings)


def _python(_: Settings) -> str:
    return f"{platform.python_version()} on {platform.platform()}"


def _folder(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.home, os.W_OK):
        raise UnavailableError(f"{settings.home} cannot be written; set HEADWISE_HOME")
    return str(settings.home)


def _broker(settings: Settings) -> str:
    return f"{ping(settings)} takes messages"


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
    "broker": _broker,
}
