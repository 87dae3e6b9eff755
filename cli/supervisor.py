"""Keep the processes of `headwise up` alive, and end them together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import structlog

from jobs.processes import systemd
from jobs.settings import FAILURES, SETTLED_SECONDS

log = structlog.get_logger()

STOP_SECONDS = 20.0
"""Time that a child has to end after SIGTERM before it is killed."""
GIVE_UP = 3
"""Failures in a row after which a child that should end by itself is not restarted, and one that
should go on is said to keep failing."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
"""Loaded before any fork: a thread that loads a library may hold the lock at that moment."""


@dataclass(kw_only=True)
class Child:
    """One supervised process."""

    name: str
    arguments: Sequence[str]
    log_folder: Path | None = None
    """Folder for its output, NAME.log; None leaves the output on the terminal."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables in addition to the supervisor's."""
    once: bool = False
    """It ends by itself: it is done with status 0, and given up after GIVE_UP failures."""
    status: int | None = None
    """Its final exit status; None while it is kept alive."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    relay: systemd.Relay | None = None
    """The socket on which it says that it goes on, if systemd wants to know."""
    goes_on: bool | None = None
    """True once it has said so since the supervisor said it last; None if it never has."""
    failures: int = 0
    retry_at: float = field(default=0.0)

    def start(self) -> None:
        """Start it in a process group of its own, so that a Ctrl-C reaches the supervisor only.

        -P: a file such as `jobs.py` in the current folder must not stand in for a package.
        """
        command = [sys.executable, "-P", "-m", "cli.main", *self.arguments]
        with self._output() as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment, **self._told()},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self.started_at, self.goes_on = time.monotonic(), None
        log.info("started", process=self.name, pid=self.process.pid)

    def _told(self) -> dict[str, str]:
        relay = {} if self.relay is None else {systemd.SOCKET: self.relay.name}
        return {FAILURES: str(self.failures), **relay}

    def listen(self) -> None:
        """Note whether it goes on."""
        if self.relay is not None and self.relay.heard():
            self.goes_on = True

    def _output(self) -> AbstractContextManager[IO[bytes] | None]:
        if self.log_folder is None:
            return nullcontext()
        self.log_folder.mkdir(parents=True, exist_ok=True)
        return (self.log_folder / f"{self.name.replace(' ', '-')}.log").open("ab")

    def check(self) -> None:
        """Restart it if it has died: at once the first time, then after growing delays."""
        now = time.monotonic()
        if self.process is not None and (status := self.process.poll()) is not None:
            if self.once and (status == 0 or self.failures + 1 >= GIVE_UP):
                self.status = status
                log.info("ended", process=self.name, status=status)
            self.failures = 0 if now - self.started_at > SETTLED_SECONDS else self.failures + 1
            self.retry_at = now + min(30.0, 0.5 * 2.0**self.failures)
            self.process = None
            if self.status is None:
                self._report(status)
        if self.process is None and self.status is None and now >= self.retry_at:
            self.start()

    def _report(self, status: int) -> None:
        log.warning("died; restarting", process=self.name, status=status)
        if self.keeps_failing:
            folder = self.log_folder and str(self.log_folder)
            log.error("keeps failing", process=self.name, times=self.failures, logs=folder)

    @property
    def keeps_failing(self) -> bool:
        """Tell whether it ended within a minute several times in a row."""
        return self.failures >= GIVE_UP and not self.settled

    @property
    def settled(self) -> bool:
        """Tell whether it has run for long by now."""
        return self.process is not None and time.monotonic() - self.started_at > SETTLED_SECONDS

    def restart(self) -> None:
        """End it and start it again, with the code as it is now."""
        self.ask_to_stop()
        self.wait_until(time.monotonic() + STOP_SECONDS)
        self.failures = 0
        self.start()

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait_until(self, deadline: float) -> None:
        """Wait for its end; kill it at the deadline."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("killing", process=self.name)
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Starts children, restarts those that die, and stops all of them."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = children
        self.stop = threading.Event()
        if os.environ.get(systemd.SOCKET):
            for child in children:
                child.relay = systemd.Relay()

    def run(self) -> int:
        """Supervise until `stop` is set or a SIGTERM, SIGINT or SIGUSR1 arrives.

        Returns 1 when a child was given up or keeps failing, else 0.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, lambda *_: self.stop.set())
        self.supervise()
        return self.status

    @property
    def status(self) -> int:
        """The exit status, see `run`."""
        return int(any(child.status or child.keeps_failing for child in self.children))

    @property
    def failing(self) -> dict[str, int]:
        """Ends of each child right after its start, in a row."""
        failed = (child for child in self.children if child.failures and not child.settled)
        return {child.name: child.failures for child in failed}

    def supervise(self) -> None:
        """Supervise until `stop` is set or all have ended; then end every child."""
        try:
            while not self.stop.is_set() and any(child.status is None for child in self.children):
                self.check()
                self.stop.wait(0.25)
        finally:
            self.shut_down()

    def check(self) -> None:
        """Restart the children that have died, and tell systemd if all others go on."""
        for child in self.children:
            child.check()
            child.listen()
        running = [child for child in self.children if child.process is not None]
        if all(child.goes_on is not False for child in running):
            systemd.went_on()
            for child in running:
                child.goes_on = None if child.goes_on is None else False

    def shut_down(self) -> None:
        """Ask all to stop at once, then wait for each."""
        for child in self.children:
            child.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children:
            child.wait_until(deadline)
            if child.relay is not None:
                child.relay.close()
        log.info("all processes stopped")


def _end_with_parent() -> None:
    """Ask for SIGTERM when the supervisor is killed, so that no child is left behind."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
