"""The heartbeat of dashboards and supervisors, and measurements for those of all processes."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessIdentity, ProcessState, Role
from jobs.errors import UnavailableError
from jobs.processes.report import Report, measure
from jobs.settings import SETTLED_SECONDS, Settings

log = structlog.get_logger()

Known = Callable[[], Mapping[str, Any]]


def process_identity(settings: Settings, role: Role) -> ProcessIdentity:
    """Identify this process; a restarted one has another name."""
    host = socket.gethostname()
    return ProcessIdentity(
        name=f"{role}-{host}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
        host=host,
        pid=os.getpid(),
        role=role,
        heartbeat_seconds=settings.heartbeat_seconds,
    )


class Reporter:
    """Measures this process and its machine in a thread: a disk that hangs delays no heartbeat."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self._started_at = time.monotonic()
        self._closing = threading.Event()
        self._report = Report()
        self._thread = threading.Thread(target=self._run, name="measurements", daemon=True)

    def start(self) -> None:
        """Start measuring, once every heartbeat."""
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._closing.set()

    def report(self, **known: Any) -> Report:
        """Return the last measurement, with what the caller knows besides."""
        return replace(self._report, **known)

    def _run(self) -> None:
        while True:
            offset: float | None = self._report.clock_offset
            with contextlib.suppress(UnavailableError):
                offset = fleet.clock_offset(self.database)
            found = measure(self.settings, clock_offset=offset)
            settled = time.monotonic() - self._started_at > SETTLED_SECONDS
            self._report = replace(found, failures=0) if settled else found
            if self._closing.wait(self.settings.heartbeat_seconds):
                return


class ProcessHeartbeat:
    """Says every HEADWISE_HEARTBEAT_SECONDS that a dashboard or a supervisor is alive.

    It is also how the process learns that the database stores nothing, or was interrupted.

    known: values of the `Report` that only its caller knows
    """

    def __init__(
        self, settings: Settings, database: Database, role: Role, known: Known = dict
    ) -> None:
        self.settings = settings
        self.database = database
        self.reporter = Reporter(settings, database)
        self.identity = process_identity(settings, role)
        self._known = known
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register the process and start the thread."""
        self.reporter.start()
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and record that the process has stopped."""
        self._closing.set()
        self.reporter.close()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self.beat(ProcessState.STOPPED)

    def beat(self, state: ProcessState = ProcessState.RUNNING) -> None:
        """Store a heartbeat. One that took long was an interruption for the others, too."""
        own = self.reporter.report(**self._known())
        began = time.monotonic()
        try:
            fleet.report_process(self.database, self.identity, state, own)
        except UnavailableError as error:
            log.warning("the heartbeat failed", error=str(error))
        if time.monotonic() - began > self.settings.heartbeat_seconds:
            self.database.note_interruption()

    def _run(self) -> None:
        while True:
            self.beat()
            if self._closing.wait(self.settings.heartbeat_seconds):
                return
