"""Hearing of what others have committed, so that a loop acts at once and not at its next round."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any, Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from db.database import Database, inode
from db.transaction import CHANNEL

LOOK_SECONDS = 0.02
"""Time between two looks at the count of an SQLite file's commits, which take microseconds."""
LISTEN_SECONDS = 0.25
"""Time for which nobody looks whether the loop is to stop."""


class Changes(Protocol):
    """Changes that a loop has not seen yet."""

    def wait(self, seconds: float, stop: threading.Event) -> object:
        """Return at the next change or the end of the time, or when `stop` is set.

        A change since the last return counts, and the first call returns at once: nobody has
        listened before. Where nothing can be heard, the time passes.
        """

    def close(self) -> None:
        """Close the connection."""


def changes_of(database: Database) -> Changes:
    """Every commit of others in an SQLite file; on PostgreSQL, what `Transaction.announce` did."""
    if database.dialect == "sqlite":
        return FileChanges(str(database.engine.url.database))
    return Announcements(database)


class FileChanges:
    """The commits in an SQLite file, by the count that SQLite keeps of them."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._inode: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._count: int | None = None

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """See `Changes`; return whether anything has changed."""
        deadline = time.monotonic() + seconds
        changed = self._replaced() | self._written()  # both, whatever the first says
        while not changed and (left := deadline - time.monotonic()) > 0:
            if stop.wait(min(left, LOOK_SECONDS)):
                return False
            changed = self._written()
        return changed

    def close(self) -> None:
        """See `Changes`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _replaced(self) -> bool:
        """Open the file anew if it is another one than before, or the first."""
        before = self._inode
        try:
            self._inode = inode(self._file)
            if self._inode is not None and (self._connection is None or self._inode != before):
                self.close()
                self._connection = sqlite3.connect(self._file, timeout=0, check_same_thread=False)
        except sqlite3.Error:
            self._inode = None
        return self._inode != before

    def _written(self) -> bool:
        """Return True if others have committed since the last call."""
        if self._connection is None:
            return False
        before = self._count
        try:
            [self._count] = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return False  # it is locked, or no database
        return self._count != before


class Announcements:
    """Announcements of transactions to those who listen on a connection of PostgreSQL.

    A pooler that lends connections for single transactions hands nothing on.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """See `Changes`."""
        deadline = time.monotonic() + seconds
        try:
            if self._connection is None:
                self._listening()
                return
            while not stop.is_set():
                left = max(0.0, deadline - time.monotonic())
                heard = self._listening().notifies(timeout=min(left, LISTEN_SECONDS), stop_after=1)
                if any(True for _ in heard) or not left:
                    return
        except (SQLAlchemyError, self._database.engine.dialect.loaded_dbapi.Error):
            self.close()
            stop.wait(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """See `Changes`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # it listens, so the pool cannot lend it
            connection.close()

    def _listening(self) -> Any:
        """The driver's connection."""
        if self._connection is None:
            connection = self._database.engine.connect()
            self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            self._connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        return self._connection.connection.driver_connection
