"""The SQL console: queries of strangers on the published views.

What may be read is enforced by the database, not by a parser: on SQLite by an authorizer, on
PostgreSQL by a role that owns nothing. Time and memory are enforced by the operating system: every
query runs in a process of its own, `db.console.child`.
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

from db.console.role import create_console_role
from db.schema import metadata
from db.views import VIEW_NAMES, VIEWS
from jobs.errors import HeadwiseError, UnavailableError, nearest, refuse
from jobs.settings import Settings

__all__ = ["Console", "QueryResult", "create_console_role"]

MEMORY = {"sqlite": 512 << 20, "postgresql": 1024 << 20}
"""Address space of the process of one query, in bytes: on SQLite it sorts there; on PostgreSQL it
holds one batch of rows, and most of the space is libraries."""
RESULT_BYTES = 32 << 20
"""Largest result of `Console.run`, in bytes."""
CONCURRENT = 4
"""Queries at once per process."""
START_SECONDS = 15.0
"""How long the child may take to start and to connect."""
GRACE_SECONDS = {"sqlite": 0.0, "postgresql": 2.0}
"""PostgreSQL gets this long to cancel in good order before the child is killed."""
MAX_SQL = 100_000

# Isolated, without site: nothing is imported that the child does not name.
_START = "import sys; sys.path.insert(0, sys.argv[1]); import db.console.child as c; c.main()"

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
    """Whether there were more rows than the row limit."""
    seconds: float
    """Time the query took, without starting and connecting."""


class Console:
    """Runs queries on the published views, read-only, limited in time, memory and rows."""

    def __init__(self, settings: Settings) -> None:
        self.seconds = settings.sql_seconds
        self.max_rows = settings.sql_rows
        self.database = make_url(settings.database)
        self.dialect = self.database.get_backend_name()
        self.console_url = settings.console_url

    def run(self, sql: str, *, max_rows: int | None = None) -> QueryResult:
        """The first rows of a query, at most `sql_rows` of the settings.

        Raises InputError when the query is refused, fails or meets a limit, UnavailableError when
        the database does not answer.
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
        """All rows of a query as CSV in UTF-8, header first, in pieces.

        The whole query runs before the first piece, which is where every error of `run` is raised:
        a reader never gets half a file, and a slow one never keeps the database waiting. The
        result waits in a temporary file; one above `max_bytes` is refused. No cell is a
        spreadsheet formula: text that starts like one has an apostrophe before it.
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
            "kind": self.dialect,
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
        # The views name their tables in a schema of the child's choice.
        views = [
            (view.name, re.sub(r"(\bFROM |\bJOIN )(\w+)", r"\1{schema}.\2", view.select))
            for view in VIEWS
        ]
        return {"address": f"file:{quote(str(path))}?mode=ro", "views": views}

    def _postgresql(self) -> dict[str, object]:
        if not self.console_url:
            raise UnavailableError(_NO_ROLE)
        address = make_url(self.console_url).set(drivername="postgresql")
        return {
            "address": address.render_as_string(hide_password=False),
            "path": sys.path,
            "tables": list(metadata.tables),
        }


class _Answer:
    """The answer of one child process; iterate over its messages once."""

    def __init__(self, request: dict[str, Any], size: int) -> None:
        self.truncated = False
        self.seconds = 0.0
        self._request = request
        self._late = threading.Event()
        # JSON writes a character in up to six bytes; a child that says more is not ours any more.
        self._bytes_left = 8 * size + (16 << 20)
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, str(Path(__file__).parents[2])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
        )
        self._timer = self._kill_after(START_SECONDS)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The messages with columns, rows or CSV; raises what an error message says."""
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
                kind: str = self._request["kind"]
                self._timer = self._kill_after(self._request["seconds"] + GRACE_SECONDS[kind])
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
        """End the child, whatever it is doing."""
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
            if not line.endswith(b"\n"):  # it died while writing
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


def _environment() -> dict[str, str]:
    """What the loader and libpq need; above all none of the settings, which hold passwords."""
    kept = ("LD_LIBRARY_PATH", "HOME", "PATH", "SYSTEMROOT")
    return {k: v for k, v in os.environ.items() if k in kept or k.startswith("PGSSL")}


def _decode(value: dict[str, Any]) -> object:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value


def _check(sql: str) -> None:
    """Refuse early what the database would refuse in words that help nobody."""
    if len(sql) > MAX_SQL:
        raise refuse("sql", sql, f"longer than {MAX_SQL:,} characters", _ONLY_SELECT)
    if "\0" in sql or re.search("[\ud800-\udfff]", sql):
        raise refuse("sql", sql, "contains a character that is no text", "Remove it.")
    start = _COMMENTS.match(sql)
    rest = sql[start.end() :] if start else sql
    if not rest:
        raise refuse("sql", sql, "is empty", _ONLY_SELECT)
    if not _QUERY.match(rest):
        word = re.match(r"\w*", rest)
        raise refuse("sql", word[0] if word else rest, "is not a SELECT", _ONLY_SELECT)


def _error(message: dict[str, Any], seconds: float, size: int) -> HeadwiseError:
    """What the child's error message means to the user."""
    kind, said = str(message["error"]), str(message.get("message", ""))
    name = str(message.get("name", "")).removeprefix("main.").removeprefix("public.")
    narrower = "Narrow it: a WHERE on job_id, fewer columns, a LIMIT."
    match kind:
        case "table" | "missing":
            what = "is not published" if kind == "table" else "does not exist"
            if name in VIEW_NAMES:
                return refuse("sql", message["name"], what, f"Write {name} without a schema.")
            return refuse("sql", name, what, nearest(name, VIEW_NAMES))
        case "function":
            remedy = "Aggregates, windows, text, dates, JSON and mathematics are."
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
            return refuse("sql", None, "makes a text or blob that is too long", narrower)
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
