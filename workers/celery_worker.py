"""The Celery side of a worker: one prefork child that computes, woken by messages.

The parent never imports torch: CUDA must be touched in the child only.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, NoReturn

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from db.ops import fleet
from jobs.logs import configure_logs
from jobs.settings import Settings
from jobs.traces import configure_traces, end_traces
from scheduler.broker import WAKE, make_app

if TYPE_CHECKING:
    from workers.worker import Worker

BROKEN = 70
"""Exit status of a process whose GPU answers it no more."""
LOOK_SECONDS = 30.0
"""Time between two looks of an idle worker that no message has woken."""


def run_worker(settings: Settings) -> NoReturn:
    """Serve the queue until told to stop, and end the process.

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
        f"--queues={settings.served_queues}",
    ]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    arguments += [f"--loglevel={settings.log_level}"]
    status = int(app.worker_main(arguments) or 0)
    # The pool is closed. At the interpreter's end it would be closed once more, and that waits for
    # a lock which a killed child has taken with it.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class _Shutdown:
    """Tells the children of later forks to stop, by closing a pipe: also when this process dies.

    An Event of multiprocessing waits until everybody who listens has heard it. A child that was
    killed while it listened never does: the parent would hang in its signal handler for ever.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def announce(self) -> None:
        """In the parent, from a signal handler, any number of times."""
        write, self._write = self._write, -1
        if write >= 0:
            os.close(write)

    def wait(self) -> None:
        """In a child: until it is announced."""
        self.announce()  # its own copy of the end that must be closed everywhere
        os.read(self._read, 1)


class _Child:
    """The computing process: its Worker, made after the fork."""

    def __init__(self, settings: Settings, shutdown: _Shutdown) -> None:
        self.settings = settings
        self.shutdown = shutdown
        self._worker: Worker | None = None
        self._working = threading.Lock()

    def start(self) -> None:
        """Load torch, register, and stop when the parent says so."""
        from workers.worker import Worker  # imports torch, so only here in the child

        configure_logs(self.settings)
        self._worker = worker = Worker(self.settings)
        configure_traces(self.settings, "worker", fleet.trace_seed(worker.database))
        worker.start()
        for task in (self._stop_on_shutdown, self._look_unasked):
            threading.Thread(target=task, args=(worker,), daemon=True).start()

    def work(self) -> None:
        """Run shards until none is ready."""
        if self._worker is None:
            raise RuntimeError("a wake-up came before the child had started")
        with self._working:
            self._look(self._worker)

    def close(self) -> None:
        """Hand back what it works on unasked, and sign off; nothing if it never started."""
        if self._worker is not None:
            self._worker.stop("the worker is shutting down")
            with self._working:
                self._worker.close()
            end_traces()
            self._worker = None

    def _look_unasked(self, worker: Worker) -> None:
        """Work without a message too: a broker that is away costs latency only.

        So does Celery's consumer, which asks for no more messages when its child is killed before
        it has accepted one.
        """
        while not worker.stopping:
            time.sleep(LOOK_SECONDS)
            if self._working.acquire(blocking=False):
                try:
                    self._look(worker)
                finally:
                    self._working.release()

    def _look(self, worker: Worker) -> None:
        worker.work()
        if worker.broken:
            worker.close()
            end_traces()
            # The parent makes a new child, as after any death.
            os._exit(BROKEN)

    def _stop_on_shutdown(self, worker: Worker) -> None:
        self.shutdown.wait()
        worker.stop("the worker is shutting down")


def _register(app: Celery, settings: Settings) -> None:
    shutdown = _Shutdown()
    child = _Child(settings, shutdown)
    # Weak references would drop these local functions at once.
    setup_logging.connect(lambda **_: configure_logs(settings), weak=False)
    worker_shutting_down.connect(lambda **_: shutdown.announce(), weak=False)
    worker_process_init.connect(lambda **_: child.start(), weak=False)
    worker_process_shutdown.connect(lambda **_: child.close(), weak=False)

    @app.task(name=WAKE, ignore_result=True)  # type: ignore[untyped-decorator]
    def wake() -> None:
        child.work()
