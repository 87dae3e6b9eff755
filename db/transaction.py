"""Transactions: they run SQL on one connection, with the clock, lists and row locks filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, CursorResult, Executable, RowMapping, TextClause, bindparam, text

Rows: TypeAlias = CursorResult[*tuple[Any, ...]]

CHANNEL = "headwise"
"""The channel of `announce` on PostgreSQL."""

_TERMS = {
    "postgresql": {
        # now() would be the beginning of the transaction.
        "clock": "extract(epoch FROM clock_timestamp())::double precision",
        "uptime": "extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
        "::double precision",
        "for_update": "FOR UPDATE",
        "for_update_skip_locked": "FOR UPDATE SKIP LOCKED",
        "for_update_of_s_skip_locked": "FOR UPDATE OF s SKIP LOCKED",
    },
    # SQLite has one writer at a time: BEGIN IMMEDIATE already excludes others.
    "sqlite": {
        "clock": "((julianday('now') - 2440587.5) * 86400.0)",
        "uptime": "1e9",
        "for_update": "",
        "for_update_skip_locked": "",
        "for_update_of_s_skip_locked": "",
    },
}


class Transaction:
    """An open transaction. `Database.read` and `Database.write` begin and end it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.dialect = connection.dialect.name

    @property
    def clock(self) -> TextClause:
        """The database's clock in seconds since 1970, for SQLAlchemy statements."""
        return text(_TERMS[self.dialect]["clock"])

    @property
    def driver_connection(self) -> Any:
        """The driver's own connection, for what SQLAlchemy does not offer (COPY)."""
        return self.connection.connection.driver_connection

    def now(self) -> float:
        """Read the database's clock."""
        return float(self.run("SELECT {clock}").scalar_one())

    def keep_snapshot(self) -> None:
        """Let every statement of a transaction that begins see the same state of the database.

        On SQLite they do anyway.
        """
        if self.dialect == "postgresql":
            self.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")

    def try_lock(self, number: int, key: int = 0) -> bool:
        """Take a lock that no row has, until the end of the transaction; False if another has it.

        Without effect on SQLite: it saves work of two at once, and must not be what keeps them
        from writing the same.
        """
        if self.dialect == "sqlite":
            return True
        query = "SELECT pg_try_advisory_xact_lock(:number, :key)"
        return bool(self.run(query, number=number, key=key).scalar())

    def announce(self) -> None:
        """Tell schedulers, once this is committed, that it left something to do for them.

        On SQLite they hear of every commit. On PostgreSQL such commits wait for each other.
        """
        if self.dialect == "postgresql":
            self.run(f"NOTIFY {CHANNEL}")

    def run(self, sql: str, /, **values: object) -> Rows:
        """Run SQL text.

        `{clock}` becomes the database's clock in seconds, `{uptime}` the seconds since its server
        started, `{for_update}` and its variants row locks where the database has them. A `:name`
        whose value is a list or tuple becomes a list for IN.
        """
        lists = tuple(key for key, value in values.items() if isinstance(value, list | tuple))
        return self.connection.execute(_statement(sql, self.dialect, lists), values)

    def run_as_is(self, sql: str, /) -> Rows:
        """Run SQL text without values, in which names may contain any character."""
        return self.connection.exec_driver_sql(sql.replace("%", "%%"))

    def rows(self, sql: str, /, **values: object) -> list[RowMapping]:
        """Run SQL text and return all of its rows, by column name."""
        return list(self.run(sql, **values).mappings())

    def run_each(self, sql: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Run SQL text once for each row of values."""
        self.connection.execute(_statement(sql, self.dialect), rows)

    def execute(
        self,
        statement: Executable,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> Rows:
        """Run a SQLAlchemy statement, once for each row where `values` is a sequence."""
        return self.connection.execute(statement, values)


@lru_cache(maxsize=1024)
def _statement(sql: str, dialect: str, lists: tuple[str, ...] = ()) -> TextClause:
    statement = text(sql.format(**_TERMS[dialect]))
    return statement.bindparams(*(bindparam(name, expanding=True) for name in lists))
