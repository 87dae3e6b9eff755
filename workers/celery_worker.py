"""The Celery side of a worker: one prefork child that computes, woken by messages.

The parent never imports torch: CUDA must be touched in the child only.
"""

from __future__ import annotations

import multiprocessing
import threading
import warnings
from multiprocessing.synchronize import Event
from typing import Protocol

import structlog
from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from jobs.logs import configure_logs
from jobs.settings import Settings
from scheduler.celery_app import WAKE, make_app

log = structlog.get_logger()


def run_worker(settings: Settings) -> int:
    """Serve the queue until told to stop; returns the exit status.

    SIGTERM is a warm shutdown: the child hands its shard back at the next batch.
    """
    app = make_app(settings)
    _register(app, settings)
    # Running as root is refused only with pickle, which this app does not accept; the banner and
    # the warning would hide the log.
    warnings.simplefilter("ignore", SecurityWarning)
    arguments = [
        "--quiet",
        "worker",
        "--pool=prefork",
        "--concurrency=1",
        f"--queues={settings.queue}",
    ]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    arguments += [f"--loglevel={settings.log_level}"]
    return int(app.worker_main(arguments) or 0)


class _Stoppable(Protocol):
    def stop(self, why: str) -> None: ...


def _stop_on(shutdown: Event, worker: _Stoppable) -> None:
    shutdown.wait()
    worker.stop("the worker is shutting down")


def _register(app: Celery, settings: Settings) -> None:
    # Shared memory: set in the parent on shutdown, seen in the child between two batches.
    shutdown = multiprocessing.get_context("fork").Event()
    state: dict[str, object] = {}

    def parent_stops(**_: object) -> None:
        shutdown.set()

    def child_starts(**_: object) -> None:
        from workers.work import Worker  # imports torch, so only here in the child

        configure_logs(settings)
        worker = Worker(settings)
        worker.start()
        state["worker"] = worker
        threading.Thread(target=_stop_on, args=(shutdown, worker), daemon=True).start()

    def child_stops(**_: object) -> None:
        worker = state.pop("worker", None)
        if worker is not None:
            worker.close()  # type: ignore[attr-defined]

    # Weak references would drop these local functions at once.
    setup_logging.connect(lambda **_: configure_logs(settings), weak=False)
    worker_shutting_down.connect(parent_stops, weak=False)
    worker_process_init.connect(child_starts, weak=False)
    worker_process_shutdown.connect(child_stops, weak=False)

    @app.task(name=WAKE, ignore_result=True)  # type: ignore[untyped-decorator]
    def wake() -> None:
        worker = state["worker"]
        worker.work()  # type: ignore[attr-defined]
