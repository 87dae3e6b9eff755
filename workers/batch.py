"""A worker for batch systems, which ends after some shards, some time, or when nothing is ready.

It polls the database instead of waiting for messages, so it needs no broker, and computes in this
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
from workers.stop_conditions import StopConditions
from workers.worker import Worker, share_interpreter

log = structlog.get_logger()

POLL_SECONDS = 1.0
"""First wait when nothing is ready; it doubles up to LONGEST_POLL_SECONDS."""
LONGEST_POLL_SECONDS = 15.0
PATIENCE_SECONDS = 60.0
"""Time that a draining worker waits for a job to be planned, or for the database."""


def run_batch(settings: Settings, conditions: StopConditions) -> int:
    """Compute shards until a condition is met, or SIGTERM, SIGINT or SIGUSR1.

    Returns the exit status, 1 if the GPU failed. Raises UnavailableError when a draining worker
    cannot reach the database.
    """
    signals: list[str] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        # Nothing more: the handler may interrupt code that holds any lock.
        signal.signal(number, lambda which, _: signals.append(signal.Signals(which).name))
    share_interpreter()
    worker = Worker(settings)
    # A batch script may end before the worker that it started in the background.
    worker.heartbeat.ends_with_parent = False
    worker.start()
    ended = threading.Event()
    watch = threading.Thread(
        target=_watch,
        args=(worker, conditions, signals, ended),
        name="stop conditions",
        daemon=True,
    )
    watch.start()
    try:
        _compute(worker, conditions, ended)
    finally:
        ended.set()
        watch.join()
        worker.close()
    log.info("worker ended", worker=worker.identity.name)
    return int(worker.gpu_failed)


def _watch(
    worker: Worker, conditions: StopConditions, signals: list[str], ended: threading.Event
) -> None:
    deadline = None if conditions.seconds is None else time.monotonic() + conditions.seconds
    while not ended.wait(0.1):
        if signals or (deadline is not None and time.monotonic() >= deadline):
            worker.stop(signals[0] if signals else "the worker's time is up")
            ended.set()


def _compute(worker: Worker, conditions: StopConditions, ended: threading.Event) -> None:
    left, wait, since = conditions.shards, POLL_SECONDS, time.monotonic()
    all_planned = False  # before the look for a shard, or a job that is planned after it is missed
    while not ended.is_set():
        attempts = worker.compute_shards(left)
        if worker.gpu_failed:
            return
        if left is not None and (left := left - attempts) <= 0:
            return
        if attempts:
            wait, since = POLL_SECONDS, time.monotonic()
        elif all_planned:
            return
        all_planned = conditions.drain and _all_planned(worker, time.monotonic() - since)
        if not all_planned:
            ended.wait(wait)
            wait = min(2 * wait, LONGEST_POLL_SECONDS)


def _all_planned(worker: Worker, waited: float) -> bool:
    patient = waited < PATIENCE_SECONDS
    try:
        return not (claims.planning_ahead(worker.database, worker.identity) and patient)
    except UnavailableError:
        if not patient:
            raise
        return False
