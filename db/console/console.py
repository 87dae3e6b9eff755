"""The SQL console: untrusted queries on the published views.

The database enforces what may be read, not a parser: on SQLite names that do not resolve and an
authorizer, on PostgreSQL a role that owns nothing. The operating system enforces time and memory:
every query runs in a process of its own (`db.console.sqlite_process`,
`db.console.postgresql.query_process`; protocol in `db.console.child`). Queries take turns, and
results are bounded in bytes where they are made.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import make_url

from db.console import parquet
from db.console.downloads import Download, Downloads
from db.console.messages import CONSOLE, NO_ROLE, check
from db.console.ordering import ordered
from db.console.postgresql import bounded
from db.console.process import Answer
from db.console.turns import TurnLimits, Turns
from db.schema import metadata
from db.views import VIEW_NAMES, VIEWS
from jobs.errors import HeadwiseError, UnavailableError, refuse
from jobs.settings import Settings

MEMORY = {"sqlite": 512 << 20, "postgresql": 1024 << 20}
"""Address space of the process of one query, in bytes. SQLite sorts in it; with PostgreSQL it holds
one row, and libraries take most of it."""
RESULT_BYTES = 32 << 20
"""Largest result of `Console.run`, in bytes."""
PREVIEW_BYTES = 128 << 10
"""Most bytes of rows that `Console.preview` returns."""
PREVIEW_CELL = 160
"""Longest text in a cell of `Console.preview`, in characters."""
CHART_BYTES = 2 << 20
"""Most bytes of rows that `Console.points` returns."""
CHART_CELL = 60
"""Longest text in a cell of `Console.points`, in characters."""
MOST_STEPS = 1_000
"""Lines of a plan."""
LONGEST_CELL = 50_000
"""Longest text that `Console.cell` returns, in characters."""
DOWNLOAD_BYTES = 100_000_000
"""Largest result of `Console.download`, in bytes."""
LIMITS = TurnLimits(running=4, running_per_client=2, waiting=6, waiting_per_client=2)
"""Together they leave a third of the dashboard's threads to its pages."""
LONGEST_WAIT = 10.0
"""Most seconds that a query waits for its turn."""
LONG_LOG = 8 << 20
"""Size of SQLite's write-ahead log above which the next query waits until it can be emptied."""

_turns = Turns(LIMITS)
_downloads = Downloads(space=5 * DOWNLOAD_BYTES, per_client=2)


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """The rows of a query. A cell is None, bool, int, float or str; bytes are hexadecimal text."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    cut_by: str | None
    """The limit that left rows out: `rows`, of the setting or of the request."""
    seconds: float
    """Duration of the query, without starting and connecting."""
    types: tuple[str, ...] = ()
    """Of each column what its values are: integer, real, text, boolean, bytes or null."""
    count: int = 0
    """Rows of the query, up to the limit of rows; some of them may not be here."""

    @property
    def truncated(self) -> bool:
        """The query has more rows than the limit."""
        return self.cut_by is not None


class Console:
    """Run queries on the published views, read-only and limited in time, memory and bytes.

    client: whose queries these are; clients take turns
    """

    def __init__(self, settings: Settings, client: str = "") -> None:
        self.seconds = settings.sql_seconds
        self.max_rows = settings.sql_rows
        self.database = make_url(settings.database)
        self.dialect = self.database.get_backend_name()
        self.console_url = settings.console_url
        self.client = client
        self.folder = settings.scratch

    def run(self, sql: str, *, max_rows: int | None = None) -> QueryResult:
        """Return the first rows of a query, at most the setting `sql_rows`.

        Raises InputError when the query is refused, fails or exceeds a limit, and UnavailableError
        when the database does not answer or too many queries wait.
        """
        if max_rows is not None and max_rows < 1:
            raise refuse("max_rows", max_rows, "must be at least 1")
        most = min(max_rows or self.max_rows, self.max_rows)
        return self._result(self._request(sql, rows=most, bytes=RESULT_BYTES))

    def preview(self, sql: str, *, sort: int = 0, skip: int = 0) -> QueryResult:
        """Return rows of `run` as a page shows them: long cells and many rows are cut.

        All rows are counted, up to the setting `sql_rows`.

        sort: the number of a column, from 1, to sort by; negative: descending
        skip: rows to leave out at the beginning
        """
        limits = {"rows": self.max_rows, "bytes": PREVIEW_BYTES, "cell": PREVIEW_CELL}
        return self._result(self._request(sql, sort=sort, skip=skip, **limits))

    def explain(self, sql: str) -> str:
        """Return the database's plan for a query, which is checked like any other and not run."""
        limits = {"rows": MOST_STEPS, "bytes": PREVIEW_BYTES, "plan": True}
        return "\n".join(str(step) for (step,) in self._result(self._request(sql, **limits)).rows)

    def points(self, sql: str, *, sort: int = 0) -> QueryResult:
        """Return the rows of `run` for a chart: long texts are cut, and rows beyond its size.

        All rows are counted, up to the setting `sql_rows`.
        """
        limits = {"rows": self.max_rows, "bytes": CHART_BYTES, "cell": CHART_CELL}
        return self._result(self._request(sql, sort=sort, **limits))

    def cell(self, sql: str, row: int, column: int, *, sort: int = 0) -> QueryResult:
        """Return one value of a result: one row, of which only that column is there.

        row, column: from 0
        """
        limits = {"rows": row + 1, "bytes": RESULT_BYTES, "cell": LONGEST_CELL}
        return self._result(self._request(sql, sort=sort, skip=row, column=column, **limits))

    def download(
        self, sql: str, form: str = "csv", *, sort: int = 0, max_bytes: int = DOWNLOAD_BYTES
    ) -> Generator[bytes, None, None]:
        """Yield all rows of a query as a file in pieces: `csv`, `json` or `parquet`.

        The query runs to its end before the first piece, and raises the errors of `run` then: a
        reader never gets half a file, and a slow reader never keeps the database waiting. The
        child writes the result to a temporary file; more than `max_bytes` is refused. In CSV, text
        that a spreadsheet would read as a formula gets an apostrophe in front. Parquet has columns
        of the types that the values have.
        """
        check(sql)
        converted = form == "parquet"
        size = max_bytes * (2 if converted else 1)
        with _downloads.open(self.client, size, self.folder) as download:
            request = self._request(
                sql,
                sort=sort,
                bytes=max_bytes,
                file=download.file.fileno(),
                format="rows" if converted else form,
            )
            found = self._result(request)
            if converted:
                self._convert(download, found, max_bytes)
            download.finish()
            yield from download.pieces()

    def _convert(self, download: Download, found: QueryResult, max_bytes: int) -> None:
        with download.replaced(self.folder) as rows:
            parquet.convert(rows, download.file, found.columns, found.types, max_bytes)

    def _request(self, sql: str, *, sort: int = 0, **limits: Any) -> dict[str, Any]:
        check(sql)
        return {
            "dialect": self.dialect,
            "sql": ordered(sql, sort),
            "rows": None,
            "cell": None,
            "skip": 0,
            "column": None,
            "plan": False,
            "file": None,
            "format": None,
            **limits,
            "seconds": self.seconds,
            "memory": MEMORY[self.dialect],
            **(self._sqlite() if self.dialect == "sqlite" else self._postgresql()),
        }

    def _result(self, request: dict[str, Any]) -> QueryResult:
        columns: tuple[str, ...] = ()
        rows: list[tuple[object, ...]] = []
        with self._answer(request) as answer:
            for message in answer:
                columns = tuple(message.get("columns", columns))
                rows.extend(tuple(row) for row in message.get("rows", ()))
        return QueryResult(
            columns=columns,
            rows=rows,
            cut_by=answer.cut_by,
            seconds=answer.seconds,
            types=answer.types,
            count=answer.count,
        )

    @contextmanager
    def _answer(self, request: dict[str, Any]) -> Iterator[Answer]:
        with _turns.turn(self.client, min(self.seconds, LONGEST_WAIT)):
            if self.dialect == "sqlite":
                self._empty_log()
            with closing(Answer(request)) as answer:
                yield answer

    def _empty_log(self) -> None:
        """Write a long write-ahead log back while no query reads from it.

        SQLite can start its log anew only at a moment without readers. Queries that overlap leave
        none, and the log would grow for as long as they do.
        """
        path = str(self.database.database)
        try:
            size = Path(f"{path}-wal").stat().st_size
        except OSError:
            return
        if size > LONG_LOG:
            with (
                _turns.alone(self.seconds) as quiet,
                suppress(sqlite3.Error),  # a writer is busy: the next query tries again
                closing(sqlite3.connect(path, timeout=2)) as connection,
            ):
                if quiet:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _sqlite(self) -> dict[str, object]:
        path = Path(str(self.database.database)).absolute()
        if not path.is_file():
            message = f"There is no database at {path}. Start Headwise first."
            raise UnavailableError(message, what=CONSOLE)
        return {"address": f"file:{quote(str(path))}?mode=ro", "views": placed_views()}

    def _postgresql(self) -> dict[str, object]:
        if not self.console_url:
            raise UnavailableError(NO_ROLE, what=CONSOLE)
        address = make_url(self.console_url).set(drivername="postgresql")
        return {
            "address": address.render_as_string(hide_password=False),
            "tables": list(metadata.tables),
            "views": list(VIEW_NAMES),
            "version": bounded.version(),
        }


def placed_views() -> list[tuple[str, str]]:
    """Name and SELECT of every published view; its tables are in the schema `{schema}`."""
    table = re.compile(r"(\bFROM |\bJOIN )(?!json_each\()(\w+)")
    return [(view.name, table.sub(r"\1{schema}.\2", view.select("sqlite"))) for view in VIEWS]


def find_fault(settings: Settings) -> str | None:
    """Try the console; returns the error, None where it works or is off."""
    if make_url(settings.database).get_backend_name() == "postgresql" and not settings.console_url:
        return None
    try:
        Console(settings).run("SELECT 1")
    except HeadwiseError as error:
        return str(error)
    return None
