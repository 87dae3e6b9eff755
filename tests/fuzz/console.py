"""Grammar-based SQL against the console, with a canary in every unpublished table and column.

Two layers. Most queries run on a connection that is set up as the console's process sets it up,
which is far faster than a process per query. Every so often one takes the whole way, through the
dashboard and a process of its own, where times, statuses and memory are looked at.

An escape is a secret canary in a result or in a message.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from db.console.child import Refused
from db.console.console import placed_views
from db.console.postgresql import bounded, query_process
from db.console.postgresql.role import console_role, create_console_role
from db.console.sqlite_process import Guard
from db.database import Database
from db.schema import metadata
from db.views import VIEW_NAMES
from jobs.settings import Settings, load_settings
from tests.fuzz.grammar import Grammar
from tests.fuzz.memory import peak_mb
from tests.fuzz.report import Report
from tests.helpers.apps import new_app
from tests.helpers.canaries import Canaries, fill

PASSWORD = "headwise-console-test"
WAYS: tuple[tuple[str, dict[str, str]], ...] = (
    ("/sql", {"sort": "-1"}),
    ("/sql", {"plan": "1"}),
    ("/sql/cell", {"cell": "0.0"}),
    ("/sql.json", {}),
    ("/sql.parquet", {"sort": "1"}),
)
"""Other ways to a query's result, which take turns."""
LIMIT_SECONDS = 2.0
"""Time limit of a query in both layers."""
HANG_SECONDS = 30.0
"""Beyond the limit; a process may start slowly on a busy machine."""
ROWS = 50
EVERY = 150
"""One query in so many goes the whole way."""
CHILD_MB = {"sqlite": 512, "postgresql": 1024}
WEB_MB = 400
STEPS = 3_000_000
"""Of SQLite's virtual machine, after which the fast layer stops a query."""


class Session(Protocol):
    """A connection of the fast layer."""

    def run(self, sql: str) -> list[tuple[object, ...]]:
        """The first rows of a query. Raises Refused."""


class SqliteSession:
    """SQLite as `db.console.sqlite_process` sets it up."""

    def __init__(self, database: Database) -> None:
        self._guard = Guard(placed_views())
        self._connection = self._guard.open(f"file:{database.engine.url.database}?mode=ro")

    def run(self, sql: str) -> list[tuple[object, ...]]:
        """See Session."""
        self._guard.denied = None
        self._connection.set_progress_handler(lambda: 1, STEPS)
        try:
            with self._guard.translated(sql), closing(self._connection.cursor()) as cursor:
                return cursor.execute(sql).fetchmany(ROWS)
        except sqlite3.Warning as warning:
            raise Refused("stacked", str(warning)) from None

    def close(self) -> None:
        """End it."""
        self._connection.close()


class PostgresqlSession:
    """PostgreSQL as `db.console.postgresql.query_process` sets it up; queries run in savepoints."""

    def __init__(self, console_url: str) -> None:
        self._connection = query_process.connect(
            {
                "address": console_url.replace("+psycopg", ""),
                "seconds": LIMIT_SECONDS,
                "tables": list(metadata.tables),
                "version": bounded.version(),
            }
        )
        self._connection.prepare_threshold = None

    def run(self, sql: str) -> list[tuple[object, ...]]:
        """See Session."""
        connection = self._connection
        connection.execute("SAVEPOINT fuzz")
        try:
            query_process.check(connection, sql, VIEW_NAMES)
            connection.execute((query_process.DECLARE + sql).encode(), binary=True)
            return connection.execute(f"FETCH {ROWS} FROM q".encode()).fetchall()
        except psycopg.Error as error:
            raise query_process.translated(error) from None
        finally:
            connection.execute("ROLLBACK TO SAVEPOINT fuzz")
            connection.execute("DEALLOCATE ALL")

    def close(self) -> None:
        """End it."""
        self._connection.close()


class Run:
    """The fuzzing of one database."""

    def __init__(self, report: Report, database: Database, settings: Settings) -> None:
        self._report = report
        self._canaries: Canaries = fill(database)
        self._app = new_app(settings)
        self._app.config["PROPAGATE_EXCEPTIONS"] = False
        self._dialect = database.dialect
        self._session: Any = (
            SqliteSession(database)
            if database.dialect == "sqlite"
            else PostgresqlSession(settings.console_url)
        )

    def go(self, grammar: Grammar, until: float) -> None:
        """Run queries until the time has come or there were enough."""
        number = 0
        while self._report.goes_on(until):
            sql = grammar.query()
            number += 1
            self._report.inputs += 1
            self._fast(sql)
            if number % EVERY == 1:
                self._whole_way(sql, WAYS[number // EVERY % len(WAYS)])

    def close(self) -> None:
        """End the session and the application."""
        self._session.close()
        self._app.extensions["headwise"].database.close()

    def _fast(self, sql: str) -> None:
        began = time.monotonic()
        try:
            rows = self._session.run(sql)
        except Refused as refused:
            self._report.outcomes[refused.code] += 1
            self._look(sql, [tuple(map(str, refused.answer.values()))])
        else:
            self._report.outcomes["accepted"] += 1
            self._look(sql, rows)
        if time.monotonic() - began > LIMIT_SECONDS + HANG_SECONDS:
            self._broken("hang", sql)

    def _whole_way(self, sql: str, another: tuple[str, dict[str, str]]) -> None:
        for path, fields in (("/sql", {}), ("/sql.csv", {}), another):
            began = time.monotonic()
            data = {"q": sql, **fields}
            answer = self._app.test_client().post(path, data=data, follow_redirects=True)
            taken = time.monotonic() - began
            self._report.outcomes[f"http {answer.status_code}"] += 1
            if answer.status_code >= 500:
                self._broken(f"status {answer.status_code}", sql)
            if path == "/sql.csv" and answer.status_code == 200 and answer.mimetype != "text/csv":
                self._broken("an error as 200", sql)
            if taken > LIMIT_SECONDS + HANG_SECONDS:
                self._broken(f"hang of {taken:.0f} s", sql)
            self._look(sql, [(answer.data.decode("utf-8", "replace"),)])
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        self._report.peak("child", child)
        web = peak_mb()
        self._report.peak("web", web)
        if child > CHILD_MB[self._dialect] or web > WEB_MB:
            self._broken(f"memory: child {child} MB, web {web} MB", sql)

    def _look(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        if found := self._canaries.seen_in(rows):
            self._broken(f"escape of {', '.join(sorted(found))}", sql)

    def _broken(self, what: str, sql: str) -> None:
        self._report.broken.append(f"{self._dialect}: {what}: {sql}")


def run(seed: int, seconds: float) -> Report:
    """Fuzz SQLite, and PostgreSQL where TEST_POSTGRES has the address of a server."""
    report = Report(part="console")
    server = os.environ.get("TEST_POSTGRES", "")
    dialects = ["sqlite", *(["postgresql"] if server else [])]
    if not server:
        report.outcomes["PostgreSQL left out: TEST_POSTGRES is not set"] += 1
    for dialect in dialects:
        with tempfile.TemporaryDirectory(prefix="headwise-fuzz-") as folder:
            fuzz(report, dialect, Path(folder), server, seed, seconds / len(dialects))
    return report


def fuzz(
    report: Report, dialect: str, folder: Path, server: str, seed: int, seconds: float
) -> None:
    """Fuzz one database."""
    with (
        made(dialect, folder, server) as (database, settings),
        closing(Run(report, database, settings)) as one,
    ):
        one.go(Grammar(dialect, seed), time.monotonic() + seconds)


@contextmanager
def made(dialect: str, folder: Path, server: str) -> Iterator[tuple[Database, Settings]]:
    """A database that is dropped at the end, and settings with the console's role."""
    common: dict[str, Any] = {"home": folder, "sql_seconds": LIMIT_SECONDS}
    if dialect == "sqlite":
        database = Database(f"sqlite:///{folder / 'headwise.sqlite'}")
        database.migrate()
        with closing(database):
            yield database, load_settings({}, **common)
        return
    name = f"headwise_fuzz_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            url = f"{server}/{name}".replace("postgresql://", "postgresql+psycopg://")
            database = Database(url)
            with closing(database):
                database.migrate()
                console = create_console_role(url, PASSWORD)
                yield database, load_settings({}, **common, database_url=url, console_url=console)
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            admin.execute(f'DROP ROLE IF EXISTS "{console_role(name)}"'.encode())
