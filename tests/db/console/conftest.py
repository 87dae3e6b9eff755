"""Consoles on a database with a few rows, and with two tables of secrets beside the system's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import db.console.console
from db.console.console import Console
from db.console.postgresql.role import create_console_role
from db.database import Database
from db.schema import metadata
from jobs.settings import Settings
from tests.db.console.queries import DirectAnswer
from tests.db.console.rows import ROWS
from tests.helpers.databases import PostgresDatabases, sqlalchemy_url, sqlite_database

PASSWORD = "headwise-console-test"


def settings_of(database: Database, folder: Path, **more: object) -> Settings:
    """Settings of a console on a database, with a role where it needs one."""
    console_url = ""
    if database.dialect == "postgresql":
        console_url = create_console_role(database.url, PASSWORD)
    given = {"home": folder, "database_url": database.url, "console_url": console_url, **more}
    return Settings.model_validate(given)


@pytest.fixture(
    scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]
)
def stocked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """A database for all tests that write nothing."""
    if request.param == "sqlite":
        database = sqlite_database(tmp_path_factory.mktemp("console") / "headwise.sqlite")
        stock(database)
        yield database
        database.close()
        return
    databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
    with databases.migrated() as name:
        database = Database(sqlalchemy_url(databases.server, name))
        stock(database)
        yield database
        database.close()


def stock(database: Database) -> None:
    """Insert a few rows, and two tables of secrets."""
    with database.write() as tx:
        for name, rows in ROWS.items():
            tx.execute(metadata.tables[name].insert(), rows)
        tx.run("CREATE TABLE users (id INTEGER PRIMARY KEY, secret TEXT)")
        tx.run("CREATE TABLE tokens (id INTEGER PRIMARY KEY, secret TEXT)")
        tx.run("INSERT INTO users VALUES (1, 'hunter2')")
        tx.run("INSERT INTO tokens VALUES (1, 'hunter2')")


@pytest.fixture(scope="session")
def settings(stocked: Database, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    if stocked.dialect == "sqlite":
        return settings_of(stocked, Path(str(stocked.engine.url.database)).parent)
    return settings_of(stocked, tmp_path_factory.mktemp("console"))


@pytest.fixture
def console(settings: Settings) -> Console:
    return Console(settings)


@pytest.fixture
def direct(console: Console, monkeypatch: pytest.MonkeyPatch) -> Console:
    """A console that asks PostgreSQL without a process per query, for long lists of them."""
    if console.dialect == "postgresql":
        monkeypatch.setattr(db.console.console, "Answer", DirectAnswer)
    return console


@pytest.fixture
def hurried(settings: Settings) -> Console:
    """A console with half a second per query."""
    return Console(settings.model_copy(update={"sql_seconds": 0.5}))
