"""The heartbeat of a worker: a thread that renews its lease and notices when it has to stop."""

from __future__ import annotations

import os
import threading
import time

import structlog

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.queue import claims
from db.queue.claims import Claim, WorkerIdentity
from jobs.errors import UnavailableError
from jobs.outcome import StopReason
from jobs.settings import Settings
from jobs.states import Control
from workers.resource_usage import ResourceUsage

log = structlog.get_logger()


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Raised inside a running attempt that must end early."""

    def __init__(self, reason: StopReason, detail: str = "") -> None:
        super().__init__(detail or str(reason))
        self.reason = reason
        self.detail = detail


class WorkerHeartbeat:
    """Says every HEADWISE_HEARTBEAT_SECONDS that the worker is alive, and renews its lease.

    In between it checks every HEADWISE_CONTROL_SECONDS whether the running attempt has to end.

    A lease is renewed only while its shard makes progress: otherwise this thread would keep the
    lease of a computation that hangs.
    """

    def __init__(self, settings: Settings, database: Database, identity: WorkerIdentity) -> None:
        self.settings = settings
        self.database = database
        self.identity = identity
        self.closing = threading.Event()
        self.ends_with_parent = True
        """Whether to stop when the parent process dies."""
        self._parent = os.getppid()
        self._lock = threading.Lock()
        self._held: Claim | None = None
        self._stop: tuple[StopReason, str] | None = None
        self._progress = 0
        self._progressed_at = 0.0
        self._usage = ResourceUsage()
        self._end = 0
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register the worker and start the thread."""
        self._beat()
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and record that the worker has stopped."""
        self.closing.set()
        self._thread.join(timeout=5)
        try:
            fleet.report_worker(self.database, self.identity, ProcessState.STOPPED)
        except UnavailableError as error:
            log.warning("could not sign off", error=str(error))

    def hold(self, held: Claim) -> None:
        """Renew the lease of this shard from now on."""
        with self._lock:
            self._held, self._stop, self._progress = held, None, 0
            self._end = held.hi
            self._progressed_at = time.monotonic()
        self._beat()

    def release(self) -> None:
        """Stop renewing the lease: the attempt has ended."""
        with self._lock:
            self._held = None

    def report_idle(self) -> None:
        """Record that there is nothing to do."""
        self._beat()

    def report_progress(self, done: int) -> None:
        """Record the examples computed so far; raises Stopped if the attempt must end."""
        with self._lock:
            self._progress, self._progressed_at = done, time.monotonic()
            stop = self._stop
        if stop is not None:
            raise Stopped(*stop)

    def stop_attempt(self, reason: StopReason, detail: str = "") -> None:
        """Make the running attempt end at its next batch; the first reason is kept."""
        with self._lock:
            self._stop = self._stop or (reason, detail)

    @property
    def orphaned(self) -> bool:
        """Whether the parent process has died, so that nobody would ever stop this one."""
        return self.ends_with_parent and os.getppid() != self._parent

    def lease_end(self) -> int:
        """Return the present end of the lease: a part may have been given to another worker."""
        return self._end

    def _run(self) -> None:
        every = min(self.settings.control_seconds, self.settings.heartbeat_seconds)
        beat_at = time.monotonic() + self.settings.heartbeat_seconds
        while not self.closing.wait(every):
            if self.orphaned:
                log.warning("the parent process is gone; stopping")
                self.stop_attempt(StopReason.SHUTDOWN, "the worker's parent process died")
            try:
                self._check()
                if time.monotonic() >= beat_at:
                    self._renew()
            except UnavailableError as error:
                log.warning("the lease could not be renewed", error=str(error))
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + self.settings.heartbeat_seconds
                self._beat()

    def _check(self) -> None:
        """Read what the user asks for and where the lease ends."""
        with self._lock:
            held = self._held
        if held is None:
            return
        found = claims.poll(self.database, held)
        with self._lock:
            if self._held is not held:
                return
            if found is not None:
                self._end = found.hi
            self._obey(None if found is None else found.control)

    def _renew(self) -> None:
        with self._lock:
            held, progress = self._held, self._progress
            still = time.monotonic() - self._progressed_at
        if held is None:
            return
        if still > self.settings.stall_seconds:
            log.error("the shard makes no progress; its lease is not renewed", seconds=round(still))
            return
        control = claims.renew(self.database, held, progress, self.settings.lease_seconds, still)
        with self._lock:
            if self._held is held:
                self._obey(control)

    def _obey(self, control: Control | None) -> None:
        """Note that the attempt must end; None: the lease is lost. Needs the lock."""
        if control is None:
            self._stop = self._stop or (StopReason.LEASE_LOST, "")
        elif control is not Control.RUN:
            self._stop = self._stop or (StopReason(control), "")

    def _beat(self) -> None:
        with self._lock:
            held = self._held
        state = ProcessState.BUSY if held else ProcessState.IDLE
        seconds = self.settings.heartbeat_seconds
        try:
            fleet.report_worker(
                self.database, self.identity, state, held, seconds, self._usage.read()
            )
        except UnavailableError as error:
            # Only the list of workers is affected: the lease is renewed separately.
            log.warning("the heartbeat failed", error=str(error))
