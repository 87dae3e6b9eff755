"""The common part of the processes that run the queries of the SQL console.

`db.console.console` starts one process per query, running `db.console.sqlite` or
`db.console.postgresql` under the operating system's limits. The process reads one request, a JSON
object, from standard input, gives up the rights it does not need, and answers in JSON lines:

    {"ready": true}                          connected; the time limit starts
    {"columns": [...]}                       once
    {"rows": [[...], ...]} or {"csv": "..."} any number of times
    {"end": true, "truncated": bool}         or
    {"error": code, "name": ..., "message": ...}

Bytes travel as {"base64": "..."}; NaN and the infinities as Python's json writes them.

A process, because a long C function cannot be interrupted inside SQLite, and a PostgreSQL client
cannot refuse a long value before it is in memory. A process can be limited and killed.

Only the standard library is imported here, so that a SQLite query starts within a few hundredths
of a second.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from db.results.csv_text import csv_text

CHUNK_ROWS = 500
MAX_FILE = 64 << 20
"""Size limit of written files, in bytes: SQLite may touch its WAL index and nothing else."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """Ends the query with an error: its code, message, and the name of the object it is about."""

    def __init__(self, code: str, message: str = "", name: str = "") -> None:
        super().__init__(message)
        self.answer: dict[str, object] = {"error": code, "message": message, "name": name}


def answer(run: Callable[[dict[str, Any], Output], None]) -> NoReturn:
    """Run the request on standard input and end the process.

    run: given the request and the output to write to; raises Refused
    """
    request = json.load(sys.stdin.buffer)
    try:
        run(request, Output(request))
    except Refused as refused:
        say(refused.answer)
    except MemoryError:
        say({"error": "memory", "message": "", "name": ""})
    # Not sys.exit: closing the last connection to a SQLite file would write the WAL back.
    os._exit(0)


def limit(memory: int, seconds: float) -> None:
    """Limit memory (bytes), processor time and file sizes of this process; no core dumps."""
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
        """Write the column names."""
        if self.csv:
            self._say_csv([names])
        else:
            say({"columns": list(names)})

    def wanted(self) -> int:
        """Number of rows to fetch next; one beyond the row limit tells whether there are more."""
        return CHUNK_ROWS if self.left is None else min(CHUNK_ROWS, self.left + 1)

    def rows(self, rows: Sequence[Sequence[object]]) -> bool:
        """Write rows up to the row limit; False when there were more."""
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
