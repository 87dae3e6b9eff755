"""The process of one query, seen from Headwise: start it, read its answer, end it in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from db.console.messages import CONSOLE, error_of
from jobs.errors import HeadwiseError, UnavailableError

START_SECONDS = 15.0
"""Time for the child to start and connect."""
GRACE_SECONDS = {"sqlite": 0.0, "postgresql": 2.0}
"""Time for PostgreSQL to cancel the query before the child is killed."""

_MODULES = {
    "sqlite": "db.console.sqlite_process",
    "postgresql": "db.console.postgresql.query_process",
}
"""The modules that run a query, by dialect."""

# Arguments: the module to run, then its import path. Python starts isolated and without site, so
# nothing is imported that the module does not name.
_START = (
    "import importlib, sys\n"
    "sys.path[:0] = sys.argv[2:]\n"
    "importlib.import_module(sys.argv[1]).main()"
)


class Answer:
    """The answer of one child process; iterate over its messages once.

    Files go straight from the child to the file that the request names, never through here.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.cut_by: str | None = None
        """The limit that left rows out."""
        self.seconds = 0.0
        self.types: tuple[str, ...] = ()
        """Types of the columns."""
        self.count = 0
        """Rows of the query, up to the limit of rows."""
        self._request = request
        self._late = threading.Event()
        # JSON writes a character in up to six bytes; a child that writes more is broken.
        self._bytes_left = 8 * request["bytes"] + (16 << 20)
        file: int | None = request["file"]
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, *_program(request["dialect"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            pass_fds=() if file is None else (file,),
        )
        self._timer = self._kill_after(START_SECONDS)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the messages with columns or rows; raise the error of an error message."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(self._request).encode())
            self._child.stdin.close()
        except BrokenPipeError:
            raise self._death(ready=False) from None
        ready = False
        for message in self._messages():
            if "ready" in message:
                ready = True
                self._timer.cancel()
                grace = GRACE_SECONDS[self._request["dialect"]]
                self._timer = self._kill_after(self._request["seconds"] + grace)
                began = time.monotonic()
            elif "error" in message:
                raise error_of(message, self._request)
            elif "end" in message:
                self.cut_by, self.count = message["cut_by"], message["count"]
                self.types = tuple(message["types"])
                self.seconds = time.monotonic() - began
                return
            else:
                yield message
        raise self._death(ready=ready)

    def close(self) -> None:
        """Kill the child."""
        self._timer.cancel()
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def _messages(self) -> Iterator[dict[str, Any]]:
        assert self._child.stdout is not None
        while line := self._child.stdout.readline(self._bytes_left + 1):
            self._bytes_left -= len(line)
            if self._bytes_left < 0:
                raise error_of({"error": "bytes"}, self._request)
            if not line.endswith(b"\n"):  # the child died while writing
                return
            yield json.loads(line)

    def _kill_after(self, seconds: float) -> threading.Timer:
        def kill() -> None:
            self._late.set()
            self._child.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        return timer

    def _death(self, *, ready: bool) -> HeadwiseError:
        status = self._child.wait()
        if not ready:
            return UnavailableError(
                "The SQL console could not start its process; see the log.", what=CONSOLE
            )
        if status > 0:
            return UnavailableError(
                "The process of the SQL console failed; see the log.", what=CONSOLE
            )
        late = self._late.is_set() or status in (-signal.SIGXCPU, -signal.SIGKILL)
        return error_of({"error": "time" if late else "memory"}, self._request)


def _program(dialect: str) -> list[str]:
    """The module that runs a query, and where it finds its imports."""
    # SQLite needs the standard library and this package alone; psycopg is installed anywhere.
    path = [str(Path(__file__).parents[2])] if dialect == "sqlite" else filter(None, sys.path)
    return [_MODULES[dialect], *path]


def _environment() -> dict[str, str]:
    """Variables that the loader and libpq need; not the settings, which hold passwords."""
    kept = ("LD_LIBRARY_PATH", "HOME", "PATH", "SYSTEMROOT")
    return {k: v for k, v in os.environ.items() if k in kept or k.startswith("PGSSL")}
