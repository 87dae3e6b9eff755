"""A scheduler that says it is alive: what it does, when its last round ended, whether the broker
answers. Dashboards and `headwise health` read it."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid

import structlog
from celery import Celery

from db.database import Database
from db.ops import fleet
from db.ops.fleet import SchedulerIdentity
from jobs.errors import UnavailableError
from jobs.logs import redact
from jobs.settings import Settings
from scheduler.broker import reach, shown_address

log = structlog.get_logger()


class Pulse:
    """Two threads: one beats, one asks the broker, which may take long to not answer."""

    def __init__(self, settings: Settings, database: Database, app: Celery) -> None:
        self.settings = settings
        self.database = database
        self.app = app
        host = socket.gethostname()
        self.who = SchedulerIdentity(
            name=f"scheduler-{host}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
            host=host,
            pid=os.getpid(),
            broker=shown_address(settings),
            beat_seconds=settings.heartbeat_seconds,
        )
        self._closing = threading.Event()
        self._moved_at = time.monotonic()
        self._doing: str | None = None
        self._broker_error: str | None = None
        self._threads = [
            threading.Thread(target=self._beat_on, name="pulse", daemon=True),
            threading.Thread(target=self._ask_on, name="broker check", daemon=True),
        ]

    def start(self) -> None:
        """Register and begin to beat."""
        for thread in self._threads:
            thread.start()

    def moved(self) -> None:
        """A round has ended."""
        self._moved_at, self._doing = time.monotonic(), None

    def doing(self, what: str) -> None:
        """A step that may take long has begun."""
        self._doing = what

    def close(self) -> None:
        """Stop beating and say so."""
        self._closing.set()
        self._threads[0].join(timeout=5)
        self._beat("stopped")

    def _beat_on(self) -> None:
        while True:
            self._beat("running")
            if self._closing.wait(self.settings.heartbeat_seconds):
                return

    def _ask_on(self) -> None:
        while True:
            self._ask()
            if self._closing.wait(self.settings.heartbeat_seconds):
                return

    def _ask(self) -> None:
        try:
            reach(self.app)
            found = None
        except UnavailableError as error:
            found = redact(str(error))
        if found and not self._broker_error:
            log.warning("the broker does not answer", error=found)
        self._broker_error = found

    def _beat(self, state: str) -> None:
        still = time.monotonic() - self._moved_at
        try:
            fleet.scheduler_beat(
                self.database,
                self.who,
                state=state,
                doing=self._doing,
                broker_error=self._broker_error,
                still=still,
            )
        except UnavailableError as error:
            log.warning("the scheduler's heartbeat failed", error=str(error))
