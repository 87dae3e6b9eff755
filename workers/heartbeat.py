"""The heart of a worker: a thread that keeps its lease alive and hears what the user wants."""

from __future__ import annotations

import os
import threading
import time

import structlog

from db.database import Database
from db.queue import claims
from db.queue.claims import Claim, WorkerIdentity
from jobs.errors import UnavailableError
from jobs.settings import Settings
from jobs.states import Control
from workers.resource_usage import Vitals

log = structlog.get_logger()

LOST = "lost"
"""The lease is gone: what this attempt computed must be thrown away."""
SHORTENED = "the rest was given to another worker"
"""The lease ends before what is being computed."""


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Raised inside a running attempt that must end: lease lost or shortened, pause, cancel or
    shutdown."""


class Heart:
    """Beats while the process lives; renews the lease of the shard that is held.

    Between two beats it looks every HEADWISE_CONTROL_SECONDS whether the attempt must end.

    A lease is renewed only while the shard moves: a thread would otherwise keep alive the lease
    of a computation that hangs.
    """

    def __init__(self, settings: Settings, database: Database, who: WorkerIdentity) -> None:
        self.settings = settings
        self.database = database
        self.who = who
        self.closing = threading.Event()
        self.guarded = True
        """Whether to stop when the parent process dies."""
        self._parent = os.getppid()
        self._lock = threading.Lock()
        self._held: Claim | None = None
        self._why: str | None = None
        self._progress = 0
        self._moved_at = 0.0
        self._vitals = Vitals()
        self._end = 0
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """Register the worker and begin to beat."""
        self._beat()
        self._thread.start()

    def close(self) -> None:
        """Stop beating and say so."""
        self.closing.set()
        self._thread.join(timeout=5)
        try:
            claims.beat(self.database, self.who, "stopped", None)
        except UnavailableError as error:
            log.warning("could not sign off", error=str(error))

    def hold(self, held: Claim) -> None:
        """Begin to renew the lease of a shard."""
        with self._lock:
            self._held, self._why, self._progress = held, None, 0
            self._end = held.hi
            self._moved_at = time.monotonic()
        self._beat()

    def release(self) -> None:
        """The attempt has ended."""
        with self._lock:
            self._held = None

    def idle(self) -> None:
        """Say that there is nothing to do."""
        self._beat()

    def moved(self, done: int) -> None:
        """Note progress; raises Stopped when the attempt must end."""
        with self._lock:
            self._progress, self._moved_at = done, time.monotonic()
            why = self._why
        if why is not None:
            raise Stopped(why)

    def stop_attempt(self, why: str) -> None:
        """Make the running attempt end at its next batch; the first reason stays."""
        with self._lock:
            self._why = self._why or why

    @property
    def orphaned(self) -> bool:
        """Whether the parent process has died: nobody would stop this one any more."""
        return self.guarded and os.getppid() != self._parent

    def end(self) -> int:
        """Where the lease that is held ends by now: its end may have been given away."""
        return self._end

    def _run(self) -> None:
        every = min(self.settings.control_seconds, self.settings.heartbeat_seconds)
        beat_at = time.monotonic() + self.settings.heartbeat_seconds
        while not self.closing.wait(every):
            if self.orphaned:
                log.warning("the parent process is gone; stopping")
                self.stop_attempt("the worker's parent process died")
            try:
                self._poll()
                if time.monotonic() >= beat_at:
                    self._renew()
            except UnavailableError as error:
                log.warning("the lease could not be renewed", error=str(error))
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + self.settings.heartbeat_seconds
                self._beat()

    def _poll(self) -> None:
        """Hear what the user wants, and how far the lease reaches by now."""
        with self._lock:
            held = self._held
        if held is None:
            return
        found = claims.poll(self.database, held)
        with self._lock:
            if self._held is not held:
                return
            if found is not None:
                self._end = found[1]
            self._hear(None if found is None else found[0])

    def _renew(self) -> None:
        with self._lock:
            held, progress, still = self._held, self._progress, time.monotonic() - self._moved_at
        if held is None:
            return
        if still > self.settings.stall_seconds:
            log.error("the shard does not move; its lease is not renewed", seconds=round(still))
            return
        control = claims.heartbeat(
            self.database, held, progress, self.settings.lease_seconds, still
        )
        with self._lock:
            if self._held is held:
                self._hear(control)

    def _hear(self, control: Control | None) -> None:
        if control is None:
            self._why = self._why or LOST
        elif control is not Control.RUN:
            self._why = self._why or str(control)

    def _beat(self) -> None:
        with self._lock:
            held = self._held
        state, seconds = "busy" if held else "idle", self.settings.heartbeat_seconds
        try:
            claims.beat(self.database, self.who, state, held, seconds, self._vitals.read())
        except UnavailableError as error:
            # Only the list of workers suffers; the lease has a heartbeat of its own.
            log.warning("heartbeat failed", error=str(error))
