"""The Celery side of a worker: one prefork child that computes, woken by messages.

The parent never imports torch: only the child may touch CUDA.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import billiard
from celery import Celery
from celery.apps import worker as celery_app
from celery.apps.worker import Worker as WorkController
from celery.exceptions import SecurityWarning, WorkerLostError
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)
from celery.worker import state
from celery.worker.request import Request

from jobs.processes.logs import configure_logs
from jobs.settings import Settings
from scheduler.broker import WAKE, make_app

if TYPE_CHECKING:
    from workers.worker import Worker

GPU_FAILED = 70
"""Exit status of a child whose GPU no longer responds."""
CHECK_SECONDS = 15.0
"""Time between two checks for ready shards of an idle worker that no message wakes."""
COLD_SECONDS = 5.0
"""Time that a cold shutdown may take before whatever is left of the worker is killed."""
SHUTDOWN = "the worker is shutting down"


def run_worker(settings: Settings) -> NoReturn:
    """Serve the queue until told to stop, then end the process.

    SIGTERM is a warm shutdown: the child hands its shard back at the next batch.
    """
    app = make_app(settings)
    app.Worker = app.subclass_with_self(_Parent, name="Worker")
    _register(app, settings)
    # Celery warns about running as root because of pickle, which this app does not accept; the
    # warning and the banner would hide the log.
    warnings.simplefilter("ignore", SecurityWarning)
    if settings.log_format == "json":
        celery_app.safe_say = _say_nothing  # plain text on standard output
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
    # The pool is closed. The interpreter would close it a second time at its exit and wait for a
    # lock that a killed child never released.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _say_nothing(*_: object) -> None:
    """In place of Celery's words on a shutdown, which the log has, too."""


class _Shutdown:
    """Tells children forked later to stop by closing a pipe, which also happens if this process
    dies.

    Setting a multiprocessing.Event waits for every listener. A child that was killed while it
    listened never answers, so the parent would hang in its signal handler.
    """

    def __init__(self) -> None:
        self._read, write = os.pipe()
        self._write = [write]

    def announce(self) -> None:
        """In the parent, from signal handlers and threads, any number of times."""
        with contextlib.suppress(IndexError):
            os.close(self._write.pop())

    def wait(self) -> None:
        """In a child: block until the shutdown is announced."""
        self.announce()  # the pipe ends when every process has closed its copy
        os.read(self._read, 1)


def _expect_cold_shutdown(announce: Callable[[], None]) -> None:
    """Make SIGQUIT end the worker within COLD_SECONDS, whatever it is doing.

    Celery's handlers close the pool and talk to the broker: they wait for locks that the code they
    interrupted holds, for a child that does not start, for a broker that does not answer. And
    a handler does not begin before the main thread has left the library that it is in, such as an
    SQLite that waits for a lock. So a thread waits for the byte that Python writes to a pipe at
    once, whichever thread takes the signal: it only leaves word, and the loop ends the worker as it
    always does. Blocking the signal would not do: NumPy has started threads before, which take it.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    _handle_sigquit_in_thread()
    threading.Thread(target=_end_on_sigquit, args=(read, announce), daemon=True).start()


def _handle_sigquit_in_thread() -> None:
    """Leave nothing to do for the main thread; with a handler, Python writes the byte."""
    signal.signal(signal.SIGQUIT, lambda *_: None)


def _end_on_sigquit(read: int, announce: Callable[[], None]) -> None:
    while os.read(read, 1) != bytes([signal.SIGQUIT]):
        pass
    announce()
    state.should_terminate = 1
    time.sleep(COLD_SECONDS)
    for child in billiard.active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    os._exit(1)


class _Parent(WorkController):  # type: ignore[misc]
    """A worker whose pool has threads of its own, so that a child that dies while the broker does
    not answer is replaced: Celery's event loop, which would do it, stands still until then."""

    def should_use_eventloop(self) -> bool:
        """Whatever the broker's transport could do."""
        return False

    def install_platform_tweaks(self, worker: Any) -> None:
        """Make the second SIGINT a SIGQUIT, and handle that in place of Celery."""
        super().install_platform_tweaks(worker)
        _handle_sigquit_in_thread()
        warm = signal.getsignal(signal.SIGTERM)

        def interrupted(*arguments: Any) -> None:
            # First, since the second may come at once.
            signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGQUIT))
            if callable(warm):
                warm(*arguments)

        signal.signal(signal.SIGINT, interrupted)


class _WakeUp(Request):  # type: ignore[misc]
    """A message whose child has died: it is no failure of its own, and nobody waits for it."""

    def on_failure(self, exc_info: Any, *arguments: Any, **options: Any) -> Any:
        """Forget it, and let the consumer ask for the next message."""
        lost = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(lost, WorkerLostError):
            state.task_ready(self)
            self.acknowledge()
            return None
        return super().on_failure(exc_info, *arguments, **options)


class _Child:
    """The computing process; its Worker is made after the fork."""

    def __init__(self, settings: Settings, shutdown: _Shutdown) -> None:
        self.settings = settings
        self.shutdown = shutdown
        self._worker: Worker | None = None
        self._computing = threading.Lock()

    def start(self) -> None:
        """Load torch, register the worker, and listen for the parent's shutdown."""
        # They import torch, so only in the child.
        from workers.worker import Worker, share_interpreter

        signal.set_wakeup_fd(-1)  # the parent's: a terminal signals both
        configure_logs(self.settings)
        share_interpreter()
        self._worker = worker = Worker(self.settings)
        worker.start()
        for task in (self._stop_on_shutdown, self._check_periodically):
            threading.Thread(target=task, args=(worker,), daemon=True).start()

    def wake(self) -> None:
        """Compute shards until none is ready."""
        if self._worker is None:
            raise RuntimeError("a wake-up came before the child had started")
        with self._computing:
            self._compute(self._worker)

    def close(self) -> None:
        """Hand back the shard in progress and sign off; does nothing if the child never started."""
        if self._worker is not None:
            self._worker.stop(SHUTDOWN)
            with self._computing:
                self._worker.close()
            self._worker = None

    def _check_periodically(self, worker: Worker) -> None:
        """Compute shards without a message too, so that a broker outage only adds latency."""
        while not worker.stopping:
            time.sleep(CHECK_SECONDS)
            if self._computing.acquire(blocking=False):
                try:
                    self._compute(worker)
                finally:
                    self._computing.release()

    def _compute(self, worker: Worker) -> None:
        worker.compute_shards()
        if worker.gpu_failed:
            worker.close()
            # The parent starts a new child, as after any death.
            os._exit(GPU_FAILED)

    def _stop_on_shutdown(self, worker: Worker) -> None:
        self.shutdown.wait()
        worker.stop(SHUTDOWN)


def _register(app: Celery, settings: Settings) -> None:
    shutdown = _Shutdown()
    child = _Child(settings, shutdown)
    # Celery's weak references would drop these local functions at once.
    setup_logging.connect(lambda **_: configure_logs(settings), weak=False)
    worker_shutting_down.connect(lambda **_: shutdown.announce(), weak=False)
    worker_process_init.connect(lambda **_: child.start(), weak=False)
    worker_process_shutdown.connect(lambda **_: child.close(), weak=False)

    _expect_cold_shutdown(shutdown.announce)

    @app.task(name=WAKE, ignore_result=True, Request=_WakeUp)  # type: ignore[untyped-decorator]
    def wake() -> None:
        child.wake()
