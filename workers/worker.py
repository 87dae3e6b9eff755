"""The worker's loop: claim the best ready shard, run it, settle it, ask again."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
import time
import uuid
from collections import deque

import structlog
import torch
import transformers

from db.database import Database
from db.ops.fleet import dead_after
from db.ops.logs import LogShipper
from db.queue import claims
from db.queue.claims import Ask, Claim, Shape, WorkerIdentity
from db.results import commit
from db.results.commit import ChangedModelError
from db.upgrades import code_revision
from jobs.errors import UnavailableError
from jobs.logs import about_attempt, bind_process, log_tail
from jobs.outcome import Errored, HandedBack, LostLease
from jobs.settings import Settings
from jobs.states import Control
from jobs.traces import span
from workers.executor import BlockError, ShardRun
from workers.heartbeat import LOST, SHORTENED, Heart, Stopped
from workers.model_cache import ModelCache

log = structlog.get_logger()

Ending = HandedBack | Errored | LostLease | None
"""Why an attempt ended; None: all of the lease was computed."""

SETTLE_SECONDS = 120.0
"""How long a computed shard waits for a database that is away before it is given up."""


def identity(settings: Settings) -> WorkerIdentity:
    """Who this process is; a restarted worker has another name."""
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
    # With one visible device each, all workers of a machine would say cuda:0.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return f"{name} ({visible[:12]})" if visible and "," not in visible else name


def gpu_answers() -> bool:
    """Whether CUDA still works in this process; true where it was never used.

    Some errors, such as an illegal address, stay for the life of the process: every later call
    fails too, whatever it is asked to do.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


class Worker:
    """One process's worth of work. Make it after a fork: it opens connections and threads."""

    def __init__(self, settings: Settings, database: Database | None = None) -> None:
        self.settings = settings
        self.database = database or Database(settings.database)
        self.who = identity(settings)
        self.models = ModelCache(settings)
        self.paces: dict[Shape, float] = {}
        self.heart = Heart(settings, self.database, self.who)
        self.shipper = LogShipper(
            self.database,
            self.who.name,
            seconds=settings.heartbeat_seconds,
            kept=settings.log_lines,
        )
        self.stopping = False
        self.broken = False
        """The GPU answers nothing to this process any more; only another process can use it."""
        if settings.threads:
            torch.set_num_threads(settings.threads)

    def start(self) -> None:
        """Register and begin to beat."""
        # A progress bar per model load would fill the log.
        transformers.utils.logging.disable_progress_bar()
        bind_process(worker=self.who.name)
        self.heart.start()
        self.shipper.start()
        log.info("worker ready", queue=self.who.queue)

    def close(self) -> None:
        """Sign off."""
        self.heart.close()
        self.shipper.close()
        self.database.close()

    def stop(self, why: str) -> None:
        """Hand back the running shard at its next batch and claim no more."""
        self.stopping = True
        self.heart.stop_attempt(why)

    def work(self, at_most: int | None = None) -> int:
        """Run shards until none is ready; returns how many attempts were made."""
        attempts = 0
        while attempts != at_most and not (self.stopping or self.broken or self.heart.orphaned):
            try:
                held = claims.claim(
                    self.database, self.who, self.settings.lease_seconds, self._ask()
                )
            except UnavailableError as error:
                # The scheduler announces the shard again once the database is back.
                log.warning("no claim without the database", error=str(error))
                break
            if held is None:
                break
            attempts += 1
            self._attempt(held)
        self.heart.idle()
        return attempts

    def _attempt(self, held: Claim) -> None:
        # A stop that arrived before the shard was held must still reach it.
        self.heart.hold(held)
        if self.stopping:
            self.heart.stop_attempt("shutdown")
        about = about_attempt(held.job_id, held.shard_no, held.fence)
        place = {"shard": held.shard_no, "attempt": held.fence}
        with log_tail() as tail, about, span("shard", held.job_id, **place):
            log.info("shard started", examples=held.hi - held.lo)
            self.shipper.nudge()
            run = ShardRun(held, self.models, self.heart.moved, self.heart.end)
            ending = self._run(run)
            try:
                self._settle(run, ending, tail)
            except UnavailableError as error:
                log.error("the database stayed away; the lease will expire", error=str(error))
            finally:
                self.heart.release()
                self.shipper.nudge()

    def _run(self, run: ShardRun) -> Ending:
        """Compute; returns why it ended, None where the lease's end was reached."""
        try:
            run.compute(commit.read_shard(self.database, run.held))
        except Stopped as stopped:
            why = str(stopped)
            if why == SHORTENED:
                return None
            return LostLease() if why == LOST else HandedBack(reason=why)
        except UnavailableError as error:
            return HandedBack(reason=str(error))
        except Exception as error:
            log.error("shard raised", exc_info=True)
            if not gpu_answers():
                log.error("the GPU answers this process no more")
                self.broken = True
            cause = error.__cause__ if isinstance(error, BlockError) else error
            message = f"{type(cause).__name__}: {cause}"
            return Errored(message=message, in_block=isinstance(error, BlockError))
        return None

    def _settle(self, run: ShardRun, ending: Ending, tail: deque[str]) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                return self._settle_once(run, ending, tail)
            except UnavailableError as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("waiting for the database", error=str(error))
                time.sleep(1.0)

    def _settle_once(self, run: ShardRun, ending: Ending, tail: deque[str]) -> None:
        if isinstance(ending, LostLease):
            log.warning("lease lost; the results are thrown away")
        elif run.parts and not _cancelled(ending):
            self._commit(run, ending, tail)
        elif isinstance(ending, HandedBack):
            log.info("shard handed back", reason=ending.reason)
            claims.hand_back(self.database, run.held, ending.reason, "\n".join(tail))
        elif isinstance(ending, Errored):
            claims.record_error(
                self.database,
                run.held,
                ending.message,
                permanent=ending.permanent,
                in_block=ending.in_block,
                log_tail="\n".join(tail),
            )

    def _commit(self, run: ShardRun, ending: HandedBack | Errored | None, tail: deque[str]) -> None:
        held, done = run.held, run.completed
        count = sum(len(part.examples) for part in done.parts)
        log.info("shard computed", examples=count, seconds=round(done.seconds, 2))
        try:
            with span("commit", held.job_id, examples=count):
                stored = commit.commit_shard(
                    self.database, held, done, run.fingerprint, "\n".join(tail), ending
                )
        except ChangedModelError as error:
            claims.record_error(
                self.database, held, str(error), permanent=True, log_tail="\n".join(tail)
            )
            return
        if not stored:
            log.warning("commit refused: the lease was lost")
            return
        log.info("shard stored", examples=count)
        self._learn(held, done.seconds / (count * held.cost))

    def _learn(self, held: Claim, pace: float) -> None:
        """Remember how fast this worker is, newer shards counting more."""
        before = self.paces.get(held.shape, pace)
        self.paces[held.shape] = (before + pace) / 2

    def _ask(self) -> Ask:
        """What to claim: as much as this worker computes in a shard's time."""
        return Ask(
            seconds=self.settings.shard_seconds,
            paces=self.paces,
            grace=dead_after(self.settings.heartbeat_seconds),
            model=self.models.loads,
            user_limit=self.settings.user_leases,
            queue_limit=self.settings.queue_leases,
        )


def _cancelled(ending: Ending) -> bool:
    """A cancelled job does not want what was computed."""
    return isinstance(ending, HandedBack) and ending.reason == Control.CANCEL
