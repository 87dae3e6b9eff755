"""The process that runs one query of the SQL console, under the operating system's limits.

Started by `db.console.console`. On SQLite it imports the standard library only, so that it starts
in a few hundredths of a second. It reads one request, a JSON object, from standard input, gives up
what it does not need, and answers in JSON lines:

    {"ready": true}                          connected; the time limit starts
    {"columns": [...]}                       once
    {"rows": [[...], ...]} or {"csv": "..."} any number of times
    {"end": true, "truncated": bool}         or
    {"error": kind, "name": ..., "message": ...}

Bytes travel as {"base64": "..."}; NaN and the infinities as Python's json writes them.

Why a process: one long C function cannot be interrupted inside SQLite, and one long value cannot
be refused by a PostgreSQL client before it is in memory. A process can be limited and killed.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from db.results.csv_text import csv_text

CHUNK_ROWS = 500
MAX_FILE = 64 << 20
"""A WAL index may be touched; nothing else is written, and nothing longer."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The query ends here: kind, name and message of the answer."""

    def __init__(self, kind: str, message: str = "", name: str = "") -> None:
        super().__init__(message)
        self.answer: dict[str, object] = {"error": kind, "message": message, "name": name}


def main() -> None:
    """Run the request on standard input."""
    request = json.load(sys.stdin.buffer)
    try:
        # Late: one needs what the other's process should not wait for.
        if request["kind"] == "sqlite":
            from db.console.sqlite import run
        else:
            sys.path[:] = request["path"]
            from db.console.postgresql import run
        run(request, Output(request))
    except Refused as refused:
        say(refused.answer)
    except MemoryError:
        say({"error": "memory", "message": "", "name": ""})
    # Not by way of sys.exit: closing the last connection to a SQLite file would write the WAL back.
    os._exit(0)


def limit(memory: int, seconds: float) -> None:
    """Give up memory, processor time, file sizes and core dumps beyond the given."""
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(seconds) + 2),
        (resource.RLIMIT_FSIZE, MAX_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def say(message: dict[str, object]) -> None:
    """Write one line of the answer."""
    line = json.dumps(message, default=_encode).encode("ascii") + b"\n"
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _encode(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode("ascii")}


class Output:
    """The answer's rows, as rows or as CSV, up to the request's limits."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.left: int | None = request["rows"]
        self.bytes_left: int = request["bytes"]
        self.csv: bool = request["csv"]

    def columns(self, names: Sequence[str]) -> None:
        """Say what the columns are called."""
        if self.csv:
            self._say_csv([names])
        else:
            say({"columns": list(names)})

    def wanted(self) -> int:
        """How many rows to fetch next: at the end one more than may be shown."""
        return CHUNK_ROWS if self.left is None else min(CHUNK_ROWS, self.left + 1)

    def rows(self, rows: Sequence[Sequence[object]]) -> bool:
        """Say these rows, as far as the row limit allows; False when there were too many."""
        shown = rows if self.left is None else rows[: self.left]
        if self.csv:
            self._say_csv(shown)
        elif shown:
            self._spend(sum(_size(value) for row in shown for value in row))
            say({"rows": shown})
        if self.left is not None:
            self.left -= len(shown)
        return len(shown) == len(rows)

    def _say_csv(self, rows: Iterable[Sequence[object]]) -> None:
        if text := csv_text(rows):
            self._spend(len(text.encode("utf-8", "surrogatepass")))
            say({"csv": text})

    def _spend(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise Refused("bytes")


def _size(value: object) -> int:
    return len(value) + 3 if isinstance(value, str | bytes) else 8
