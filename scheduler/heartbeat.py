"""The heartbeat of a scheduler: what it is doing, when its last round ended, and whether the
broker takes messages. Pages, metrics and `headwise health` read it."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable

import structlog
from celery import Celery

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState, SchedulerIdentity
from db.ops.heartbeat import Reporter
from jobs.errors import UnavailableError
from jobs.processes.logs import redact
from jobs.settings import Settings
from scheduler.broker import shown_address, try_broker

log = structlog.get_logger()


class SchedulerHeartbeat:
    """Two threads: one writes the heartbeat, one checks the broker, which may be slow to time
    out."""

    def __init__(self, settings: Settings, database: Database, app: Celery) -> None:
        self.settings = settings
        self.database = database
        self.app = app
        host = socket.gethostname()
        self.identity = SchedulerIdentity(
            name=f"scheduler-{host}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
            host=host,
            pid=os.getpid(),
            broker=shown_address(settings),
            heartbeat_seconds=settings.heartbeat_seconds,
        )
        self._reporter = Reporter(settings, database)
        self._closing = threading.Event()
        self._round_ended_at = time.monotonic()
        self._step: str | None = None
        self._broker_error: str | None = None
        self._threads = [
            threading.Thread(target=self._repeat, args=(task,), name=name, daemon=True)
            for name, task in (("heartbeat", self._beat), ("broker check", self._check_broker))
        ]

    def start(self) -> None:
        """Register the scheduler and start the threads."""
        self._reporter.start()
        for thread in self._threads:
            thread.start()

    def round_ended(self) -> None:
        """Record that a round has ended."""
        self._round_ended_at, self._step = time.monotonic(), None

    def step_started(self, step: str) -> None:
        """Record that a step has started that may take long."""
        self._step = step

    def close(self) -> None:
        """Stop the threads and record that the scheduler has stopped."""
        self._closing.set()
        self._reporter.close()
        self._threads[0].join(timeout=5)
        self._beat(ProcessState.STOPPED)

    def _repeat(self, task: Callable[[], None]) -> None:
        while True:
            task()
            if self._closing.wait(self.settings.heartbeat_seconds):
                return

    def _check_broker(self) -> None:
        try:
            try_broker(self.app, f"headwise.ping.{self.identity.name}")
            found = None
        except UnavailableError as error:
            found = redact(str(error))
        if found and not self._broker_error:
            log.warning("the broker does not work", error=found)
        self._broker_error = found

    def _beat(self, state: ProcessState = ProcessState.RUNNING) -> None:
        try:
            fleet.report_scheduler(
                self.database,
                self.identity,
                state=state,
                doing=self._step,
                broker_error=self._broker_error,
                still=time.monotonic() - self._round_ended_at,
                own=self._reporter.report(),
            )
        except UnavailableError as error:
            log.warning("the heartbeat failed", error=str(error))
