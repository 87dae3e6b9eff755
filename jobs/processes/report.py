"""The report of a process on itself and its machine, stored with its heartbeats."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jobs.processes.space import Space, spaces
from jobs.settings import FAILURES, Settings


@dataclass(frozen=True, kw_only=True)
class Report:
    """Facts that only the process itself knows; those that it does not have their defaults."""

    version: str = ""
    """Its release."""
    disks: tuple[Space, ...] = ()
    clock_offset: float | None = None
    """Seconds that the clock of its machine is ahead of the database's."""
    failures: int = 0
    """Times in a row that it had ended right after its start, under a supervisor."""
    failing: dict[str, int] = field(default_factory=dict)
    """Of a supervisor: how often in a row each process that it starts has ended so."""
    console_error: str | None = None
    """The error if the SQL console does not work there."""
    commit_errors: int = 0
    """Tries of a worker to store results that failed, since its start."""
    lost_leases: int = 0
    """Leases that a worker found lost, since its start: their results were discarded."""

    def to_json(self) -> str:
        """Return it as it is stored."""
        return _STORED.dump_json(self).decode()


_STORED = TypeAdapter(Report)


def measure(settings: Settings, **known: Any) -> Report:
    """Report on this process and its machine, with what its caller knows besides."""
    measured = Report(
        version=version("headwise"),
        disks=tuple(spaces(settings)),
        failures=int(os.environ.get(FAILURES) or 0),
    )
    return replace(measured, **known)


def parse(stored: str | None) -> Report:
    """Read a stored report; an empty one where there is none, or none that this release reads."""
    try:
        return _STORED.validate_json(stored or "{}")
    except ValidationError:
        return Report()
