"""SQLite: the write-ahead log beside queries, and files that are no database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import db.console.console
from db.console.console import Console
from db.database import Database
from db.schema import metadata
from jobs.errors import UnavailableError
from jobs.settings import Settings
from tests.db.console.conftest import settings_of, stock
from tests.db.console.rows import ROWS
from tests.helpers.databases import sqlite_database


@pytest.fixture
def own(tmp_path: Path) -> Database:
    """A database that a test may write to."""
    database = sqlite_database(tmp_path / "headwise.sqlite")
    stock(database)
    return database


def test_beside_a_writer(own: Database, tmp_path: Path) -> None:
    console = Console(settings_of(own, tmp_path))
    count = "SELECT count(*) FROM jobs"
    with own.write() as tx:
        tx.execute(metadata.tables["job"].insert(), [{**ROWS["job"][0], "id": 3, "name": "new"}])
        assert console.run(count).rows == [(2,)]
    assert console.run(count).rows == [(3,)]


def test_after_a_writer_died(own: Database, tmp_path: Path) -> None:
    path = Path(str(own.engine.url.database))
    writer = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "c.execute('PRAGMA journal_mode=WAL'); "
        "c.execute('UPDATE job SET name = ?', ['written']); c.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", writer, str(path)], check=True)
    log = path.with_name(path.name + "-wal")
    main, written = path.read_bytes(), log.read_bytes()
    assert written
    assert Console(settings_of(own, tmp_path)).run("SELECT DISTINCT name FROM jobs").rows == [
        ("written",)
    ]
    assert (path.read_bytes(), log.read_bytes()) == (main, written)


def test_a_long_write_ahead_log_is_emptied_between_queries(
    own: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Path(f"{own.engine.url.database}-wal")
    console = Console(settings_of(own, tmp_path))
    console.run("SELECT 1")
    assert log.stat().st_size > 0  # of the rows of this test
    monkeypatch.setattr(db.console.console, "LONG_LOG", 0)
    assert console.run("SELECT count(*) FROM jobs").rows == [(2,)]
    assert log.stat().st_size == 0
    with own.write() as tx:  # a writer that is busy is not waited for longer than needed
        tx.connection.exec_driver_sql("DELETE FROM users")
        assert console.run("SELECT count(*) FROM jobs").rows == [(2,)]


def test_a_folder_with_odd_characters(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a b#c%20é'}/headwise.sqlite"
    Database(url).migrate()
    console = Console(Settings(home=tmp_path, database_url=url))
    assert console.run("SELECT count(*) FROM jobs").rows == [(0,)]


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no database at"):
        Console(Settings(home=tmp_path)).run("SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_no_database_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "headwise.sqlite").write_text("this is no database " * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        Console(Settings(home=tmp_path)).run("SELECT 1")
