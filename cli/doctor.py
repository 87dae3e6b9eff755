"""The checks of `headwise doctor`."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from cli.devices import driver_devices
from db.database import Database
from db.ops import fleet
from db.upgrades import SchemaState
from jobs.errors import HeadwiseError, UnavailableError
from jobs.settings import Settings
from scheduler.broker import ping


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Run every check."""
    checks: dict[str, Callable[[Settings], str]] = {
        "python": _python,
        "data folder": _folder,
        "database": _database,
        "broker": _broker,
        "workers": _workers,
        "packages": _packages,
        "device": _device,
    }
    findings = []
    for name, check in checks.items():
        try:
            findings.append(Finding(name=name, ok=True, detail=check(settings)))
        except (HeadwiseError, OSError) as error:
            findings.append(Finding(name=name, ok=False, detail=str(error)))
    return findings


def _python(_: Settings) -> str:
    return f"{platform.python_version()} on {platform.platform()}"


def _folder(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.home, os.W_OK):
        raise UnavailableError(f"{settings.home} cannot be written; set HEADWISE_HOME")
    free = shutil.disk_usage(settings.home).free / 1e9
    return f"{settings.home}, {free:.0f} GB free"


def _database(settings: Settings) -> str:
    database = Database(settings.database)
    try:
        state, detail = database.schema_state(), database.describe_schema()
    finally:
        database.close()
    if state is SchemaState.OLDER or state is SchemaState.TOO_NEW:
        raise UnavailableError(f"{database.dialect}: {detail}")
    return f"{database.dialect}, {detail}"


def _broker(settings: Settings) -> str:
    return f"{ping(settings)} answers"


def _workers(settings: Settings) -> str:
    database = Database(settings.database)
    try:
        if not database.schema_is_current():
            return "none yet"
        alive = [w for w in fleet.list_workers(database, settings) if w.alive]
    finally:
        database.close()
    if not alive:
        return "none alive; `headwise up` or `headwise worker`"
    places = Counter(f"{w.device} for {w.queue.replace(',', ', ')}" for w in alive)
    listed = "; ".join(f"{count} on {place}" for place, count in sorted(places.items()))
    return f"{len(alive)} alive: {listed}"


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
