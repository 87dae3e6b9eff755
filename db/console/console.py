"""The SQL console: untrusted queries on the published views.

The database enforces what may be read, not a parser: on SQLite an authorizer, on PostgreSQL a
role that owns nothing. The operating system enforces time and memory: every query runs in a
process of its own (`db.console.sqlite`, `db.console.postgresql`; protocol in `db.console.child`).
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import make_url

from db.schema import metadata
from db.views import VIEW_NAMES, VIEWS
from jobs.errors import HeadwiseError, UnavailableError, nearest, refuse
from jobs.settings import Settings

MEMORY = {"sqlite": 512 << 20, "postgresql": 1024 << 20}
"""Address space of the process of one query, in bytes. SQLite sorts in it; with PostgreSQL it holds
one batch of rows, and libraries take most of it."""
RESULT_BYTES = 32 << 20
"""Largest result of `Console.run`, in bytes."""
CONCURRENT = 4
"""Concurrent queries per process of Headwise."""
START_SECONDS = 15.0
"""Time for the child to start and connect."""
GRACE_SECONDS = {"sqlite": 0.0, "postgresql": 2.0}
"""Time for PostgreSQL to cancel the query before the child is killed."""
MAX_SQL = 100_000

# Arguments: the module to run, then its import path. Python starts isolated and without site, so
# nothing is imported that the module does not name.
_START = (
    "import importlib, sys\n"
    "sys.path[:0] = sys.argv[2:]\n"
    "importlib.import_module(sys.argv[1]).main()"
)

_slots = threading.BoundedSemaphore(CONCURRENT)
_COMMENTS = re.compile(r"(\s|\(|;|--[^\n]*(\n|$)|/\*.*?(\*/|$))*", re.DOTALL)
_QUERY = re.compile(r"(select|values|with|table)\b", re.IGNORECASE)
_ONLY_SELECT = "Write one SELECT (or WITH ... SELECT) on the published views."
_NO_ROLE = (
    "The SQL console is off: on PostgreSQL it needs a role of its own. Make one with "
    "`headwise doctor --create-console-role` and set HEADWISE_CONSOLE_URL to the address it prints."
)


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """The rows of a query. A cell is None, bool, int, float, str or bytes."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    truncated: bool
    """The query has more rows than the row limit."""
    seconds: float
    """Duration of the query, without starting and connecting."""


class Console:
    """Run queries on the published views, read-only and limited in time, memory and rows."""

    def __init__(self, settings: Settings) -> None:
        self.seconds = settings.sql_seconds
        self.max_rows = settings.sql_rows
        self.database = make_url(settings.database)
        self.dialect = self.database.get_backend_name()
        self.console_url = settings.console_url

    def run(self, sql: str, *, max_rows: int | None = None) -> QueryResult:
        """Return the first rows of a query, at most the setting `sql_rows`.

        Raises InputError when the query is refused, fails or exceeds a limit, and UnavailableError
        when the database does not answer.
        """
        if max_rows is not None and max_rows < 1:
            raise refuse("max_rows", max_rows, "must be at least 1")
        most = min(max_rows or self.max_rows, self.max_rows)
        columns: tuple[str, ...] = ()
        rows: list[tuple[object, ...]] = []
        with self._answer(sql, rows=most, size=RESULT_BYTES, csv=False) as answer:
            for message in answer:
                columns = tuple(message.get("columns", columns))
                rows.extend(tuple(row) for row in message.get("rows", ()))
        return QueryResult(
            columns=columns, rows=rows, truncated=answer.truncated, seconds=answer.seconds
        )

    def csv(self, sql: str, *, max_bytes: int = 100_000_000) -> Iterator[bytes]:
        """Yield all rows of a query as CSV in UTF-8, header first, in pieces.

        The query runs to its end before the first piece, and raises the errors of `run` then: a
        reader never gets half a file, and a slow reader never keeps the database waiting. The
        result is spooled to a temporary file; more than `max_bytes` is refused. Text that a
        spreadsheet would read as a formula gets an apostrophe in front.
        """
        with tempfile.TemporaryFile() as spool:
            with self._answer(sql, rows=None, size=max_bytes, csv=True) as answer:
                for message in answer:
                    spool.write(message["csv"].encode("utf-8", "replace"))
            spool.seek(0)
            while piece := spool.read(1 << 16):
                yield piece

    @contextmanager
    def _answer(self, sql: str, *, rows: int | None, size: int, csv: bool) -> Iterator[_Answer]:
        _check(sql)
        request = {
            "dialect": self.dialect,
            "sql": sql,
            "rows": rows,
            "bytes": size,
            "csv": csv,
            "seconds": self.seconds,
            "memory": MEMORY[self.dialect],
            **(self._sqlite() if self.dialect == "sqlite" else self._postgresql()),
        }
        if not _slots.acquire(timeout=self.seconds):
            raise UnavailableError(
                f"The SQL console is busy with {CONCURRENT} queries. Try again in a moment."
            )
        try:
            answer = _Answer(request, size)
            try:
                yield answer
            finally:
                answer.close()
        finally:
            _slots.release()

    def _sqlite(self) -> dict[str, object]:
        path = Path(str(self.database.database)).absolute()
        if not path.is_file():
            raise UnavailableError(f"There is no database at {path}. Start Headwise first.")
        return {"address": f"file:{quote(str(path))}?mode=ro", "views": placed_views()}

    def _postgresql(self) -> dict[str, object]:
        if not self.console_url:
            raise UnavailableError(_NO_ROLE)
        address = make_url(self.console_url).set(drivername="postgresql")
        return {
            "address": address.render_as_string(hide_password=False),
            "tables": list(metadata.tables),
        }


def placed_views() -> list[tuple[str, str]]:
    """Name and SELECT of every published view; its tables are in the schema `{schema}`."""
    return [
        (view.name, re.sub(r"(\bFROM |\bJOIN )(\w+)", r"\1{schema}.\2", view.select))
        for view in VIEWS
    ]


class _Answer:
    """The answer of one child process; iterate over its messages once."""

    def __init__(self, request: dict[str, Any], size: int) -> None:
        self.truncated = False
        self.seconds = 0.0
        self._request = request
        self._late = threading.Event()
        # JSON writes a character in up to six bytes; a child that writes more is broken.
        self._bytes_left = 8 * size + (16 << 20)
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, *_program(request["dialect"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        self._timer = self._kill_after(START_SECONDS)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the messages with columns, rows or CSV; raise the error of an error message."""
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
                raise _error(message, self._request["seconds"], self._request["bytes"])
            elif "end" in message:
                self.truncated = bool(message["truncated"])
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
                raise _error({"error": "bytes"}, self._request["seconds"], self._request["bytes"])
            if not line.endswith(b"\n"):  # the child died while writing
                return
            yield json.loads(line, object_hook=_decode)

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
            return UnavailableError("The SQL console could not start its process; see the log.")
        if status > 0:
            return UnavailableError("The process of the SQL console failed; see the log.")
        if self._late.is_set() or status in (-signal.SIGXCPU, -signal.SIGKILL):
            return _error({"error": "time"}, self._request["seconds"], 0)
        return _error({"error": "memory"}, self._request["seconds"], 0)


def _program(dialect: str) -> list[str]:
    """The module that runs a query, and where it finds its imports."""
    # SQLite needs the standard library and this package alone; psycopg is installed anywhere.
    path = [str(Path(__file__).parents[2])] if dialect == "sqlite" else filter(None, sys.path)
    return [f"db.console.{dialect}", *path]


def _environment() -> dict[str, str]:
    """Variables that the loader and libpq need; not the settings, which hold passwords."""
    kept = ("LD_LIBRARY_PATH", "HOME", "PATH", "SYSTEMROOT")
    return {k: v for k, v in os.environ.items() if k in kept or k.startswith("PGSSL")}


def _decode(value: dict[str, Any]) -> object:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value


def _check(sql: str) -> None:
    """Refuse queries for which the message of the database would not help."""
    if len(sql) > MAX_SQL:
        raise refuse("sql", sql, f"longer than {MAX_SQL:,} characters", _ONLY_SELECT)
    if "\0" in sql or re.search("[\ud800-\udfff]", sql):
        raise refuse("sql", sql, "contains a character that is not text", "Remove it.")
    start = _COMMENTS.match(sql)
    rest = sql[start.end() :] if start else sql
    if not rest:
        raise refuse("sql", sql, "is empty", _ONLY_SELECT)
    if not _QUERY.match(rest):
        word = re.match(r"\w*", rest)
        raise refuse("sql", word[0] if word else rest, "is not a SELECT", _ONLY_SELECT)


def _error(message: dict[str, Any], seconds: float, size: int) -> HeadwiseError:
    """The error for the user, from an error message of the child."""
    code, said = str(message["error"]), str(message.get("message", ""))
    name = str(message.get("name", "")).removeprefix("main.").removeprefix("public.")
    narrower = "Narrow it: a WHERE on job_id, fewer columns, a LIMIT."
    match code:
        case "table" | "missing":
            what = "is not published" if code == "table" else "does not exist"
            if name in VIEW_NAMES:
                return refuse("sql", message["name"], what, f"Write {name} without a schema.")
            return refuse("sql", name, what, nearest(name, VIEW_NAMES))
        case "function":
            remedy = "Aggregate, window, text, date, JSON and mathematical functions are."
            return refuse("sql", name, "the function is not allowed here", remedy)
        case "statement" | "empty":
            return refuse("sql", name or None, "is not a SELECT", _ONLY_SELECT)
        case "stacked":
            return refuse("sql", None, "is more than one statement", _ONLY_SELECT)
        case "time":
            return refuse("sql", None, f"stopped at the time limit of {seconds:g} s", narrower)
        case "memory":
            return refuse("sql", None, "stopped at the memory limit", narrower)
        case "value":
            return refuse("sql", None, "produces a text or blob that is too long", narrower)
        case "bytes":
            text = f"its result is larger than {size:,} bytes"
            return refuse("sql", None, text, narrower)
        case "role":
            return UnavailableError(
                f"HEADWISE_CONSOLE_URL may read more than the views. {_NO_ROLE}"
            )
        case "unavailable":
            return UnavailableError(f"The database does not answer: {said}")
        case _:
            return refuse("sql", None, said.rstrip("."))
