"""Copies of an SQLite database, while other processes write to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DatabaseError

from db.backup.manifest import Content, CopyError, Progress, content
from db.database import Database
from db.transaction import Transaction
from db.upgrades import schema_revision
from jobs.errors import UnavailableError

PAGES = 2_000
"""Pages that are copied at a time."""


def file_of(database: Database) -> Path:
    """The file of a database."""
    return Path(str(make_url(database.url).database))


def copy(database: Database, to: Path, progress: Progress) -> tuple[Content, str]:
    """Copy the database to a new file; returns its content and the revision of its schema.

    The copy has exactly what was committed when it began: the read transaction holds the snapshot.
    Raises UnavailableError and CopyError.
    """
    with database.read() as tx:
        revision = schema_revision(tx)
        found = content(tx)
        with closing(sqlite3.connect(to, isolation_level=None)) as new:
            try:
                size = int(tx.run("PRAGMA page_size").scalar_one())

                def report(_status: int, left: int, pages: int) -> None:
                    progress("copying the database", (pages - left) * size)

                tx.driver_connection.backup(new, pages=PAGES, progress=report)
                new.execute("PRAGMA journal_mode=DELETE")  # one file
            except sqlite3.Error as error:
                raise UnavailableError(f"The copy {to} was not made: {error}") from error
    progress("checking the copy", 0)
    found.compare(examine(to))
    return found, str(revision)


def examine(file: Path) -> Content:
    """Read the content of a file that no process has open. Raises CopyError if it is damaged."""
    engine = create_engine("sqlite://", creator=lambda: _immutable(file))
    try:
        with engine.connect() as connection:
            tx = Transaction(connection)
            fault = str(tx.run("PRAGMA integrity_check(1)").scalar())
            if fault != "ok":
                raise CopyError(f"The copy {file} is damaged: {fault}")
            return content(tx)
    except DatabaseError as error:
        raise CopyError(f"The copy {file} is damaged: {error.orig}") from error
    finally:
        engine.dispose()


def _immutable(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
