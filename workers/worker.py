"""The worker's loop: claim the best ready shard, compute it, store the results, repeat.

The results of a shard are stored in a thread of their own while the next shard is computed, so that
a GPU need not wait for the database. Only one shard at a time is stored. Whatever ends the loop, a
stop or an error, waits for it.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import socket
import sys
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context

import structlog
import torch
import transformers
from structlog.contextvars import bound_contextvars

from db.database import Database
from db.ops import fleet
from db.ops.logs import LogShipper
from db.queue import claims
from db.queue.ask import Ask, Shape, WorkerIdentity
from db.queue.claims import Claim
from db.results import commit
from db.results.commit import ChangedModelError
from db.upgrades import code_revision
from headwise.errors import ModelError, ModelNotFoundError
from jobs.errors import UnavailableError
from jobs.inputs.models.tokenizing import TextError
from jobs.outcome import Ending, Errored, HandedBack, LostLease, StopReason
from jobs.processes.logs import about_attempt, bind_process
from jobs.processes.traces import configure_traces, end_traces, span
from jobs.settings import Settings
from workers.executor import Attempt, BlockError
from workers.heartbeat import Stopped, WorkerHeartbeat
from workers.model_cache import ModelCache

log = structlog.get_logger()

SWITCH_SECONDS = 0.0005
"""Longest time for which another thread keeps the interpreter while one wants it: Python's own 5 ms
at every pass would be much of the time of a fast device."""
STORE_SECONDS = 120.0
"""Time to wait for an unavailable database before the results of an attempt are discarded."""


def worker_identity(settings: Settings) -> WorkerIdentity:
    """Identify this process; a restarted worker has another name."""
    versions = {
        name: importlib.metadata.version(name) for name in ("headwise", "torch", "transformers")
    }
    host = socket.gethostname()
    versions |= {"python": platform.python_version(), "schema": code_revision()}
    return WorkerIdentity(
        name=f"{host}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
        host=host,
        pid=os.getpid(),
        queue=settings.served_queues,
        device=_device(settings.device),
        versions=json.dumps(versions),
    )


def _device(wanted: str) -> str:
    if wanted == "auto":
        wanted = "cuda:0" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return wanted
    name = f"{wanted} {torch.cuda.get_device_name(wanted)}"
    # Workers that see one GPU each would all report cuda:0.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return f"{name} ({visible[:12]})" if visible and "," not in visible else name


def gpu_responds() -> bool:
    """Return True if CUDA still works in this process, or was never used.

    Some errors, such as an illegal address, are permanent: every later call in the process fails.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def share_interpreter() -> None:
    """Let the thread that feeds the device go on soon, whatever the one that stores results does.

    For a process that is a worker. A full garbage collection stops every thread; among what torch
    and transformers made when they were imported it takes 0.3 s, and finds nothing.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()


class Worker:
    """A process that computes shards. Create it after a fork: it has connections and threads."""

    def __init__(self, settings: Settings, database: Database | None = None) -> None:
        self.settings = settings
        self.database = database or Database(settings.database)
        self.identity = worker_identity(settings)
        self.database.name_sessions(self.identity.name)
        self.paces: dict[Shape, float] = {}
        """Seconds per unit of cost that this worker takes, by shape of job."""
        self.heartbeat = WorkerHeartbeat(settings, self.database, self.identity)
        self.models = ModelCache(settings, arrived=self.heartbeat.touch)
        self.shipper = LogShipper(
            self.database,
            self.identity.name,
            seconds=settings.heartbeat_seconds,
            kept=settings.log_lines,
        )
        self._storing_thread = ThreadPoolExecutor(1, thread_name_prefix="storing results")
        self._computed: tuple[Attempt, Context] | None = None
        """An attempt that has computed all of its lease, and whose results are to be stored, with
        the context of its trace and its log lines."""
        self._storing: Future[None] | None = None
        """The results that are being stored."""
        self.stopping = False
        self.gpu_failed = False
        """True once the GPU no longer responds to this process; another one can still use it."""
        if settings.threads:
            torch.set_num_threads(settings.threads)

    def start(self) -> None:
        """Register the worker and start its threads."""
        # One progress bar per loaded model would fill the log.
        transformers.utils.logging.disable_progress_bar()
        bind_process(worker=self.identity.name)
        configure_traces(self.settings, "worker", fleet.trace_seed(self.database))
        self.heartbeat.start()
        self.shipper.start()
        log.info("worker ready", queue=self.identity.queue)

    def close(self) -> None:
        """Stop the threads and record that the worker has stopped."""
        self._storing_thread.shutdown()
        self.models.trying.close()
        self.heartbeat.close()
        self.shipper.close()
        self.database.close()
        end_traces()

    def stop(self, detail: str) -> None:
        """Hand the shard in progress back at its next batch, and claim no other."""
        self.stopping = True
        self.heartbeat.stop_attempt(StopReason.SHUTDOWN, detail)

    def compute_shards(self, at_most: int | None = None) -> int:
        """Claim and compute shards until none is ready, and store their results.

        Returns the number of attempts.
        """
        attempts = 0
        try:
            while True:
                # Before the results of the last shard are stored: SQLite has one writer at a time.
                held = self._claim() if attempts != at_most and not self._ended else None
                if held is not None:
                    attempts += 1
                    if held.losses:
                        # An example of it may end the process: nothing computed may go with it.
                        self._wait_until_stored()
                    self._attempt(held)
                    continue
                if not self._wait_until_stored():
                    break
                # Otherwise once more: limits count the lease that has ended, and what that shard
                # did not compute is ready.
        finally:
            self.heartbeat.release()  # whatever happens, no lease is renewed for ever
            self._wait_until_stored()
        self.heartbeat.touch()
        self.heartbeat.report_idle()
        return attempts

    def _claim(self) -> Claim | None:
        """Claim a shard and begin to renew its lease; None if there is none."""
        self.heartbeat.touch()
        try:
            held = claims.claim(
                self.database, self.identity, self.settings.lease_seconds, self._ask()
            )
        except UnavailableError as error:
            # The scheduler announces the shard again once the database is back.
            log.warning("the database is unavailable: no shard was claimed", error=str(error))
            return None
        if held is not None:
            self.heartbeat.hold(held)
        return held

    @property
    def _ended(self) -> bool:
        return self.stopping or self.gpu_failed or self.heartbeat.orphaned

    def _attempt(self, held: Claim) -> None:
        about = about_attempt(held.job_id, held.shard_no, held.fence)
        place = {"shard": held.shard_no, "attempt": held.fence}
        with about, span("shard", held.job_id, **place):
            try:
                # A stop that arrived before the shard was held must still end the attempt.
                if self.stopping:
                    self.heartbeat.stop_attempt(StopReason.SHUTDOWN)
                log.info("shard started", examples=held.hi - held.lo)
                self.shipper.nudge()
                self._run(held)
            finally:
                # Whatever happens, the lease is not renewed any more.
                self.heartbeat.release()
                self.shipper.nudge()

    def _run(self, held: Claim) -> None:
        attempt = Attempt(
            held,
            self.models,
            progress=self.heartbeat.report_progress,
            lease_end=self.heartbeat.lease_end,
            enter=self.heartbeat.enter,
            # Not while the first block is prepared: both at once would keep the device waiting.
            ready=self._begin_storing,
        )
        ending = self._compute(attempt)
        if attempt.parts:
            count = sum(len(part.examples) for part in attempt.parts)
            self._update_pace(held, attempt.seconds / (count * held.cost))
        self._wait_until_stored()
        if ending is None and attempt.parts:
            self.heartbeat.store()
            # The process's log lines will be those of the next attempt.
            with bound_contextvars(job=held.job_id, shard=held.shard_no, attempt=held.fence):
                self._computed = attempt, copy_context()
        else:
            self._store(attempt, ending)

    def _begin_storing(self) -> None:
        """Begin to store the results of the attempt that was computed last, if there is one."""
        computed, self._computed = self._computed, None
        if computed is not None:
            attempt, context = computed
            self._storing = self._storing_thread.submit(context.run, self._store, attempt, None)

    def _wait_until_stored(self) -> bool:
        """Wait until whatever was computed is stored; False if that was nothing."""
        self._begin_storing()
        storing, self._storing = self._storing, None
        if storing is None:
            return False
        try:
            storing.result()
        finally:
            self.heartbeat.stored()
            self.shipper.nudge()
        return True

    def _compute(self, attempt: Attempt) -> Ending:
        try:
            attempt.compute(commit.read_shard(self.database, attempt.held))
        except Stopped as stopped:
            if stopped.reason is StopReason.SHORTENED:
                return None
            if stopped.reason is StopReason.LEASE_LOST:
                return LostLease()
            return HandedBack(reason=stopped.reason, detail=stopped.detail)
        except UnavailableError as error:
            return HandedBack(reason=StopReason.UNAVAILABLE, detail=str(error))
        except BaseException as error:  # noqa: BLE001 - Rust extensions panic, libraries exit
            return self._errored(error)
        return None

    def _errored(self, error: BaseException) -> Ending:
        cause = (error.__cause__ or error) if isinstance(error, BlockError) else error
        if self.stopping and isinstance(cause, SystemExit | KeyboardInterrupt):
            return HandedBack(reason=StopReason.SHUTDOWN, detail="the worker is shutting down")
        log.error("the shard raised an error", exc_info=error)
        if not gpu_responds():
            log.error("the GPU no longer responds to this process")
            self.gpu_failed = True
        if not isinstance(cause, Exception):
            self.models.clear()  # whatever it broke off may be in there
        permanent = (
            isinstance(cause, ModelError)
            and not isinstance(cause, TextError)
            and type(cause) is not ModelNotFoundError
            and not self.gpu_failed
        )
        message = str(cause) if permanent else f"{type(cause).__name__}: {cause}"
        in_block = isinstance(error, BlockError)
        return Errored(message=message, in_block=in_block, permanent=permanent)

    def _store(self, attempt: Attempt, ending: Ending) -> None:
        """Store how the attempt ended, waiting for a database that is unavailable."""
        deadline = time.monotonic() + STORE_SECONDS
        while True:
            try:
                return self._store_once(attempt, ending)
            except UnavailableError as error:
                self.heartbeat.commit_errors += 1
                if time.monotonic() > deadline:
                    log.error(
                        "the database is still unavailable: the lease will expire", error=str(error)
                    )
                    return None
                log.warning("waiting for the database", error=str(error))
                self.heartbeat.touch()
                time.sleep(1.0)

    def _store_once(self, attempt: Attempt, ending: Ending) -> None:
        if isinstance(ending, LostLease):
            self.heartbeat.lost_leases += 1
            log.warning("the lease was lost: the results are discarded")
        elif attempt.parts and not _cancelled(ending):
            self._commit(attempt, ending)
        elif isinstance(ending, HandedBack):
            log.info("shard handed back", reason=ending.message)
            partial = None if _cancelled(ending) else attempt.partial
            claims.hand_back(self.database, attempt.held, ending.message, partial)
        elif isinstance(ending, Errored):
            claims.record_error(
                self.database,
                attempt.held,
                ending.message,
                permanent=ending.permanent,
                whole_job=ending.permanent,
                in_block=ending.in_block,
            )

    def _commit(self, attempt: Attempt, ending: HandedBack | Errored | None) -> None:
        held, done = attempt.held, attempt.completed
        count = sum(len(part.examples) for part in done.parts)
        log.info("shard computed", examples=count, seconds=round(done.seconds, 2))
        try:
            with span("commit", held.job_id, examples=count):
                stored = commit.commit_shard(self.database, held, done, attempt.fingerprint, ending)
        except ChangedModelError as error:
            self.heartbeat.commit_errors += 1
            claims.record_error(self.database, held, str(error), permanent=True)
            return
        if not stored:
            self.heartbeat.lost_leases += 1
            log.warning("the lease was lost: the results were not stored")
            return
        log.info("shard stored", examples=count)

    def _update_pace(self, held: Claim, pace: float) -> None:
        """Remember how fast this worker is; the newest shard counts half."""
        before = self.paces.get(held.shape, pace)
        self.paces[held.shape] = (before + pace) / 2

    def _ask(self) -> Ask:
        """Ask for as much as this worker computes in the seconds of one shard."""
        return Ask(
            seconds=self.settings.shard_seconds,
            paces=self.paces,
            grace=fleet.dead_after(self.settings.heartbeat_seconds),
            model=self.models.loads,
            user_limit=self.settings.user_leases,
            queue_limit=self.settings.queue_leases,
        )


def _cancelled(ending: Ending) -> bool:
    """Return True if the job was cancelled: its results are not wanted."""
    return isinstance(ending, HandedBack) and ending.reason is StopReason.CANCEL
