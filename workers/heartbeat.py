"""The heartbeat of a worker: a thread that renews its leases and notices when it has to stop.

It is the watchdog, too: a worker that does not go on is ended, because nothing else can end a
computation that hangs. Its supervisor starts another.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

import structlog

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState, Vitals
from db.ops.heartbeat import Reporter
from db.queue import claims, lifecycle
from db.queue.ask import WorkerIdentity
from db.queue.claims import Claim
from jobs.errors import UnavailableError
from jobs.outcome import Stage, StopReason
from jobs.processes import systemd
from jobs.settings import Settings
from jobs.states import Control
from workers.resource_usage import ResourceUsage

log = structlog.get_logger()

HUNG = 71
"""Exit status of a process that did not go on."""
IDLE_SECONDS = 60.0
"""An idle worker looks for shards four times a minute; standing still for longer counts."""
DEAD_MAN_SECONDS = 120.0
"""Beyond HEADWISE_STALL_SECONDS: when the process ends although this thread cannot run, as in
foreign code that keeps Python's lock."""


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Raised inside a running attempt that must end early."""

    def __init__(self, reason: StopReason, detail: str = "") -> None:
        super().__init__(detail or str(reason))
        self.reason = reason
        self.detail = detail


def _stacks() -> str:
    """The stacks of all threads, the last call of each last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"Thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )


class WorkerHeartbeat:
    """Says every HEADWISE_HEARTBEAT_SECONDS that the worker is alive, and renews its leases.

    It has one of the shard that it computes, and one of the shard before while its results are
    stored.

    In between it checks every HEADWISE_CONTROL_SECONDS whether the running attempt has to end.

    A worker that has not gone on for HEADWISE_STALL_SECONDS loses its shard and is ended:
    otherwise this thread would keep the lease of a computation that hangs. Loading a model cannot
    be interrupted; when it has to stop there, the shard is handed back at once.
    """

    def __init__(self, settings: Settings, database: Database, identity: WorkerIdentity) -> None:
        self.settings = settings
        self.database = database
        self.identity = identity
        self.closing = threading.Event()
        self.ends_with_parent = True
        """Stop when the parent process dies."""
        self.end_process: Callable[[int], object] = os._exit
        self._parent = os.getppid()
        self._lock = threading.Lock()
        self._held: Claim | None = None
        self._stop: tuple[StopReason, str] | None = None
        self._progress = 0
        self._stage: Stage | None = None
        self._moved_at = time.monotonic()
        self._storing: Claim | None = None
        self._storing_since = 0.0
        self._ending = False
        self._usage = ResourceUsage()
        self._reporter = Reporter(settings, database)
        self.commit_errors = 0
        """Tries to store results that failed."""
        self.lost_leases = 0
        self._end = 0
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register the worker and start the thread."""
        self.touch()
        self._reporter.start()
        self._beat()
        self._set_dead_man()
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and record that the worker has stopped."""
        self.closing.set()
        self._reporter.close()
        self._thread.join(timeout=5)
        faulthandler.cancel_dump_traceback_later()
        try:
            fleet.report_worker(self.database, self.identity, ProcessState.STOPPED)
        except UnavailableError as error:
            log.warning("could not sign off", error=str(error))

    def hold(self, held: Claim) -> None:
        """Renew the lease of this shard from now on."""
        with self._lock:
            self._held, self._stop, self._stage = held, None, None
            self._progress = held.progress
            self._end = held.hi
            self._moved_at = time.monotonic()
        self._beat()

    def release(self) -> None:
        """Stop renewing the lease: the attempt has ended."""
        with self._lock:
            self._held, self._moved_at = None, time.monotonic()

    def store(self) -> None:
        """Keep the lease of the shard that was computed while its results are stored."""
        with self._lock:
            self._storing, self._held = self._held, None
            self._storing_since = self._moved_at = time.monotonic()

    def stored(self) -> None:
        """Stop renewing the lease of the shard whose results were stored."""
        with self._lock:
            self._storing = None

    def touch(self) -> None:
        """Note that the worker goes on, though no example was computed."""
        with self._lock:
            self._moved_at = self._storing_since = time.monotonic()

    def enter(self, stage: Stage) -> None:
        """Note where the attempt is, also in the database."""
        with self._lock:
            held, self._stage, self._moved_at = self._held, stage, time.monotonic()
        if held is not None:
            claims.enter(self.database, held, stage)

    def report_idle(self) -> None:
        """Record that there is nothing to do."""
        self._beat()

    def report_progress(self, done: int) -> None:
        """Record the examples that a stop now would keep; raises Stopped if one is due."""
        with self._lock:
            self._progress, self._moved_at = done, time.monotonic()
            stop = self._stop
        if stop is not None:
            raise Stopped(*stop)

    def stop_attempt(self, reason: StopReason, detail: str = "") -> None:
        """Make the running attempt end at its next batch; the first reason is kept."""
        with self._lock:
            self._stop = self._stop or (reason, detail)

    @property
    def orphaned(self) -> bool:
        """True if the parent process has died, so that nobody would ever stop this one."""
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
            self._set_dead_man()
            self._end_if_hung()
            try:
                self._check()
                self._leave_loading()
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

    def _set_dead_man(self) -> None:
        """End the process, with its stacks in the log, unless this is called again in time."""
        seconds = self.settings.stall_seconds + DEAD_MAN_SECONDS
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)

    def _end_if_hung(self) -> None:
        """End a process that does not go on; the shard is taken back first.

        A worker that waits for the database goes on: to end it would not bring the database back.
        """
        with self._lock:
            leases, stage = (self._held, self._storing), self._stage
            still = max(self._still(), self._still_storing())
        if still <= self.settings.stall_seconds:
            systemd.went_on()
            return
        where = "while it loaded the model" if stage is Stage.LOADING else "on its shard"
        reason = f"the worker {self.identity.name} made no progress {where} for {still:.0f} s"
        log.error("the worker hangs; its process ends", seconds=round(still), stacks=_stacks())
        for held in filter(None, leases):
            with contextlib.suppress(UnavailableError):  # then the lease expires
                lifecycle.take_back(self.database, held, reason)
        self._sign_off_and_end(HUNG)

    def _leave_loading(self) -> None:
        """Hand the shard back if it has to stop while a model is loaded; on shutdown end, too, once
        the results of the shard before are stored."""
        with self._lock:
            held, stop = self._held, self._stop
            loading = held is not None and self._stage is Stage.LOADING
            if loading and stop is not None:
                self._stage = None
        if loading and held is not None and stop is not None:
            reason, detail = stop
            if reason is not StopReason.LEASE_LOST:
                claims.hand_back(self.database, held, detail or str(reason))
            if reason is StopReason.SHUTDOWN:
                log.info("stopped while the model was loaded", reason=detail)
                self._ending = True
        if self._ending and self._storing is None:
            self._sign_off_and_end(0)

    def _sign_off_and_end(self, status: int) -> None:
        self.closing.set()
        with contextlib.suppress(UnavailableError):
            fleet.report_worker(self.database, self.identity, ProcessState.STOPPED)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.end_process(status)

    def _still(self) -> float:
        """Seconds that the worker has stood still without a reason. Needs the lock."""
        still = time.monotonic() - self._moved_at
        return still if self._held is not None else max(0.0, still - IDLE_SECONDS)

    def _still_storing(self) -> float:
        """Seconds that storing has stood still. Needs the lock."""
        return 0.0 if self._storing is None else time.monotonic() - self._storing_since

    def _renew(self) -> None:
        with self._lock:
            held, progress, still = self._held, self._progress, self._still()
            storing, storing_still = self._storing, self._still_storing()
        seconds = self.settings.lease_seconds
        if held is not None:
            control = claims.renew(self.database, held, progress, seconds, still)
            with self._lock:
                if self._held is held:
                    self._obey(control)
        if storing is not None:
            # Whether that lease is lost is for the commit to find out.
            done = storing.hi - storing.lo
            claims.renew(self.database, storing, done, seconds, storing_still)

    def _obey(self, control: Control | None) -> None:
        """Note that the attempt must end; None: the lease is lost. Needs the lock."""
        if control is None:
            self._stop = self._stop or (StopReason.LEASE_LOST, "")
        elif control is not Control.RUN:
            self._stop = self._stop or (StopReason(control), "")

    def _beat(self) -> None:
        if self.closing.is_set():
            return
        with self._lock:
            held, still = self._held or self._storing, max(self._still(), self._still_storing())
        state = ProcessState.BUSY if held else ProcessState.IDLE
        seconds = self.settings.heartbeat_seconds
        own = self._reporter.report(commit_errors=self.commit_errors, lost_leases=self.lost_leases)
        vitals = Vitals(resource_usage=self._usage.read(), still=still, report=own.to_json())
        try:
            fleet.report_worker(self.database, self.identity, state, held, seconds, vitals)
        except UnavailableError as error:
            # Only the list of workers is affected: the lease is renewed separately.
            log.warning("the heartbeat failed", error=str(error))
