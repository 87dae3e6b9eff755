"""A worker with an end, for batch systems: so many shards, so much time, or until nothing is ready.

It asks the database instead of waiting for messages, so it needs no broker, and computes in this
process, which touches CUDA itself.
"""

from __future__ import annotations

import signal
import threading
import time

import structlog

from db.queue import claims
from jobs.errors import UnavailableError
from jobs.settings import Settings
from workers.stop_conditions import Limits
from workers.worker import Worker

log = structlog.get_logger()

POLL_SECONDS = 1.0
"""First wait when nothing is ready; later ones are longer, up to LONGEST_POLL_SECONDS."""
LONGEST_POLL_SECONDS = 15.0
PATIENCE_SECONDS = 60.0
"""How long a draining worker waits for a job to be planned, or for the database."""


def run_batch(settings: Settings, limits: Limits) -> int:
    """Work until a limit, SIGTERM, SIGINT or SIGUSR1; returns the exit status, 1 for a broken GPU.

    Raises UnavailableError when a draining worker cannot reach the database.
    """
    signals: list[str] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        # No more than this: the handler may interrupt a holder of any lock.
        signal.signal(number, lambda which, _: signals.append(signal.Signals(which).name))
    worker = Worker(settings)
    # A batch script may end before its worker; nobody else would miss it.
    worker.heart.guarded = False
    worker.start()
    ended = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(worker, limits, signals, ended), name="limits", daemon=True
    )
    watch.start()
    try:
        _work(worker, limits, ended)
    finally:
        ended.set()
        watch.join()
        worker.close()
    log.info("worker ended", worker=worker.who.name)
    return int(worker.broken)


def _watch(worker: Worker, limits: Limits, signals: list[str], ended: threading.Event) -> None:
    deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
    while not ended.wait(0.1):
        if signals or (deadline is not None and time.monotonic() >= deadline):
            worker.stop(signals[0] if signals else "the worker's time is up")
            ended.set()


def _work(worker: Worker, limits: Limits, ended: threading.Event) -> None:
    left, wait, since = limits.shards, POLL_SECONDS, time.monotonic()
    while not ended.is_set():
        attempts = worker.work(left)
        if worker.broken:
            return
        if left is not None and (left := left - attempts) <= 0:
            return
        if attempts:
            wait, since = POLL_SECONDS, time.monotonic()
        if limits.drain and _drained(worker, time.monotonic() - since):
            return
        ended.wait(wait)
        wait = min(2 * wait, LONGEST_POLL_SECONDS)


def _drained(worker: Worker, waited: float) -> bool:
    patient = waited < PATIENCE_SECONDS
    try:
        return not (claims.planning_ahead(worker.database, worker.who) and patient)
    except UnavailableError:
        if not patient:
            raise
        return False
