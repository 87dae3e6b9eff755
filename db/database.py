"""The connections of a process to its database: read and write transactions, and migrations."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, RowMapping, create_engine, event, make_url, select
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DisconnectionError,
    IntegrityError,
    TimeoutError,
)

from db.console.postgresql.grants import grant_views
from db.schema import published
from db.transaction import Transaction
from db.upgrades import (
    OLDEST_CODE,
    SchemaState,
    alembic_config,
    code_revision,
    describe,
    left_behind,
    schema_revision,
    schema_state,
)
from db.views import VIEWS, views_hash
from jobs.errors import DATABASE, ConflictError, UnavailableError, UnwritableError, refuse

WRITTEN_BY_ANOTHER = IntegrityError
"""The error of SQLAlchemy where another process inserted the same row first."""

BUSY_SECONDS = 30
"""Seconds that a writer waits for SQLite's write lock."""
CONNECTION = {
    # Of the client: a server that vanished without a word.
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Options of a connection to PostgreSQL; those in the address go before them."""
SESSION = {
    "lock_timeout": "10s",
    "statement_timeout": "2min",
    "idle_in_transaction_session_timeout": "10min",
    # Of the server: a client that vanished while it held locks.
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
    "client_connection_check_interval": "10s",
}
"""Settings of a session on PostgreSQL. No statement waits for ever, not for a lock and not for its
client: a process that is stopped or cut off in the middle of a transaction would hold up all
others. Reading may pause for as long as someone downloads."""
WRITING = "SET LOCAL idle_in_transaction_session_timeout = '1min'"
"""Writers hold locks: they may not pause."""
SESSION_NAME = 63
"""Characters that PostgreSQL keeps of a session's name."""
FULL = ("53100", "SQLITE_FULL")
UNWRITABLE = (*FULL, "25006", "SQLITE_READONLY")
"""Codes of errors that a full disk and a read-only database cause."""
WAITED = ("55P03", "57014")
"""Codes of errors of a server that answers: a lock or a statement took too long."""
MIGRATING = "SET LOCAL statement_timeout = 0"
"""A migration of a large table takes as long as it takes."""


class Database:
    """A database and its connections. Create it after a fork, never before."""

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        self.dialect = parsed.get_backend_name()
        self.url = url
        self.write_error: UnwritableError | None = None
        """The reason the last write transaction of this process stored nothing; None if it did."""
        self._missed_at = -math.inf
        self._process = ""
        if self.dialect == "sqlite":
            _make_folder(Path(str(parsed.database)).parent)
            # Pooled: opening the file and setting pragmas takes ten times as long as a small query.
            self.engine = create_engine(
                parsed, pool_size=5, max_overflow=10, connect_args={"timeout": BUSY_SECONDS}
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "checkout", _same_file)
            event.listen(self.engine, "begin", _begin_sqlite)
            # One that is forgotten is closed: Python 3.13 warns of connections that stay open.
            weakref.finalize(self, self.engine.dispose).atexit = False
        else:
            self.engine = create_engine(
                parsed,
                pool_size=5,
                max_overflow=10,
                pool_pre_ping=True,
                connect_args=_connect_args(parsed),
            )
            event.listen(self.engine, "do_connect", self._name_session)

    @property
    def heard_seconds(self) -> float:
        """Seconds for which this process could hear of others through the database."""
        return time.monotonic() - self._missed_at

    def note_interruption(self) -> None:
        """Note that the database did not answer, or answered late."""
        self._missed_at = time.monotonic()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Begin a read transaction; every statement sees a consistent snapshot.

        On SQLite it is the same one for all of them, see `Transaction.keep_snapshot`.
        """
        with self._translated(), self.engine.connect() as connection:
            yield Transaction(connection)

    def rows(self, sql: str, /, **values: object) -> list[RowMapping]:
        """Run a query in a read transaction of its own."""
        with self.read() as tx:
            return tx.rows(sql, **values)

    def value(self, sql: str, /, **values: object) -> Any:
        """Return the first column of a query's first row; None without rows."""
        with self.read() as tx:
            return tx.run(sql, **values).scalar()

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Begin a write transaction, committed at the end and rolled back on any exception."""
        try:
            with self._translated(), self.engine.connect() as connection:
                connection.execution_options(headwise_write=True)
                with connection.begin():
                    if self.dialect == "postgresql":
                        connection.exec_driver_sql(WRITING)
                    yield Transaction(connection)
        except UnwritableError as error:
            self.write_error = error
            raise
        self.write_error = None

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """Open a connection without a transaction, for SQLite's statements that forbid one."""
        with self._translated(), self.engine.connect() as connection:
            yield connection.execution_options(headwise_autocommit=True)

    def migrate(self, *, force: bool = False) -> None:
        """Upgrade the schema to the newest version; several processes may call this at once.

        A newer schema stays as it is. Raises UnavailableError if it is too new for this code, and
        ConflictError if live workers could not continue on the upgraded one, unless forced.
        """
        with self.write() as tx:
            if self.dialect == "postgresql":
                tx.run(MIGRATING)
                tx.run("SET LOCAL lock_timeout = 0")  # another process may be migrating
                tx.run("SELECT pg_advisory_xact_lock(7229)")
            state = schema_state(tx)
            if state is SchemaState.TOO_NEW:
                message = f"The database {self.shown_url}: {_describe(tx)}."
                raise UnavailableError(message, what=DATABASE)
            if state is SchemaState.NEWER or (
                state is SchemaState.CURRENT and _published(tx) == _publishing()
            ):
                return
            behind = left_behind(tx)
            if behind and not force:
                raise ConflictError(
                    f"Workers are alive whose release is too old for {code_revision()}: "
                    f"{', '.join(behind)}. Stop or upgrade them first, or use --force."
                )
            self._upgrade(tx)

    def _upgrade(self, tx: Transaction) -> None:
        from alembic import command  # slow to import, and seldom needed

        for view in VIEWS:
            tx.run(f"DROP VIEW IF EXISTS {view.name}")
        config = alembic_config()
        config.attributes["connection"] = tx.connection
        command.upgrade(config, "head")
        for view in VIEWS:
            tx.connection.exec_driver_sql(view.definition(self.dialect))
        tx.execute(published.delete())
        values = dict(zip(("views_hash", "oldest_code"), _publishing(), strict=True))
        tx.execute(published.insert().values(values))
        if self.dialect == "postgresql":
            grant_views(tx)

    def schema_state(self) -> SchemaState:
        """Compare the schema with this code."""
        with self.read() as tx:
            return schema_state(tx)

    def describe_schema(self) -> str:
        """Describe the schema's state for users, with revisions and the remedy."""
        with self.read() as tx:
            return _describe(tx)

    def schema_is_current(self) -> bool:
        """Return True if this code works on the schema."""
        return self.schema_state().fits

    @contextmanager
    def _translated(self) -> Iterator[None]:
        driver = self.engine.dialect.loaded_dbapi
        try:
            yield
        except TimeoutError as error:  # every connection of the pool is in use
            self.note_interruption()
            message = f"The database {self.shown_url} does not answer: {error}"
            raise UnavailableError(message, what=DATABASE) from error
        except (DatabaseError, driver.Error) as error:
            # A bulk insert uses the driver, whose errors come as they are.
            cause = error.orig if isinstance(error, DatabaseError) else error
            if (code := _code(cause)) in UNWRITABLE:
                message = f"The database {self.shown_url} cannot be written: {cause}"
                raise UnwritableError(message, disk_full=code in FULL) from error
            if not _unavailable(driver, cause):
                raise
            if getattr(error, "connection_invalidated", False) or code not in WAITED:
                self.note_interruption()
            message = f"The database {self.shown_url} does not answer: {cause}"
            raise UnavailableError(message, what=DATABASE) from error

    @property
    def shown_url(self) -> str:
        """Its address without a password."""
        return make_url(self.url).render_as_string(hide_password=True)

    def name_sessions(self, process: str) -> None:
        """Name the process on its sessions, so that others can end them once it is silent."""
        self._process = process
        self.close()

    def _name_session(
        self, _dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]
    ) -> None:
        options["application_name"] = session_name(self._process or "headwise")

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def session_name(process: str) -> str:
    """The name of a process's sessions: PostgreSQL cuts a longer one off at its end."""
    return process[-SESSION_NAME:]


def _describe(tx: Transaction) -> str:
    return describe(schema_state(tx), schema_revision(tx))


def _published(tx: Transaction) -> tuple[str, str | None] | None:
    row = tx.execute(select(published.c.views_hash, published.c.oldest_code)).first()
    return None if row is None else (row[0], row[1])


def _publishing() -> tuple[str, str]:
    return views_hash(), OLDEST_CODE


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # Without the value, which may contain a password.
        remedy = "Write sqlite:////folder/file or postgresql://user:password@host:5432/name."
        raise refuse("HEADWISE_DATABASE_URL", None, "is not a database address", remedy) from None


def _connect_args(url: URL) -> dict[str, object]:
    """The arguments of a connection to PostgreSQL that the address does not give itself."""
    given = {name: value for name, value in CONNECTION.items() if name not in url.query}
    asked = str(url.query.get("options", ""))
    settings = [f"-c {name}={value}" for name, value in SESSION.items()]
    return {**given, "options": " ".join([*settings, asked]).strip()}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"The database's folder cannot be made: {error}"
        raise UnavailableError(message, what=DATABASE) from error


def _code(error: BaseException | None) -> str | None:
    """The code of a driver's error: PostgreSQL's SQLSTATE or SQLite's name."""
    code = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    return None if code is None else str(code)


def _unavailable(driver: Any, error: BaseException | None) -> bool:
    # SQLite raises the base class itself if a file is damaged or not a database. A session that
    # PostgreSQL ended because its transaction was idle is an "internal error" to the driver.
    operational = isinstance(error, driver.OperationalError) or type(error) is driver.DatabaseError
    return operational or _code(error) == "25P03"


def _same_file(connection: Any, record: Any, _proxy: Any) -> None:
    """Drop connections to a file that was deleted or replaced, by a restored backup for example."""
    file = connection.execute("PRAGMA database_list").fetchone()[2]
    now = inode(file)
    if record.info.setdefault("inode", now) != now:
        raise DisconnectionError(f"{file} is another file now")


def inode(file: str) -> int | None:
    """The number of a file; None if it is not there."""
    try:
        return Path(file).stat().st_ino
    except OSError:
        return None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Transactions are begun by _begin_sqlite: the driver's own BEGIN is never IMMEDIATE.
    connection.isolation_level = None
    connection.create_function("exp", 1, math.exp, deterministic=True)  # PostgreSQL has it
    # Only in a new file, before it is in WAL mode. Elsewhere it has no effect but takes the write
    # lock, so readers would wait for writers.
    if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    for pragma in (
        "journal_mode=WAL",
        "journal_size_limit=67108864",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # Take the write lock at the beginning: upgrading a read lock later can fail.
    options = connection.get_execution_options()
    if not options.get("headwise_autocommit"):
        writing = options.get("headwise_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
