"""Migrated databases, made once, then copied or emptied, and SQL on them."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from db.console.postgresql.role import console_role
from db.database import Database


@cache
def migrated_file() -> bytes:
    """The content of a SQLite file with the schema and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "headwise.sqlite"
        database = Database(f"sqlite:///{path}")
        database.migrate()
        database.close()
        return path.read_bytes()


def sqlite_database(path: Path) -> Database:
    """A new SQLite database with the schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(migrated_file())
    return Database(f"sqlite:///{path}")


def sqlalchemy_url(server: str, name: str) -> str:
    return f"{server}/{name}".replace("postgresql:", "postgresql+psycopg:", 1)


class PostgresDatabases:
    """Databases of a server that end with the tests that use them.

    Copying the template writes 9 MB. So a migrated database whose schema a test left as it was is
    emptied for the next one, under a new name: what is left of the test before cannot get in.
    """

    def __init__(self, server: str) -> None:
        self.server = server
        self._admin = psycopg.connect(f"{server}/postgres", autocommit=True)
        self._template = self._create("template1")
        database = Database(sqlalchemy_url(server, self._template))
        database.migrate()
        database.close()
        with self._connect(self._template) as connection:
            self._tables = [row[0] for row in connection.execute(_TABLES)]
            self._seeds = self._filled(connection)
            self._schema = self._fingerprint(connection)
        self._spares: list[str] = []

    @contextmanager
    def empty(self) -> Iterator[str]:
        """A database without a schema."""
        name = self._create("template1")
        try:
            yield name
        finally:
            self._drop(name)

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """A database with the schema and nothing else."""
        name = self._rename(self._spares.pop()) if self._spares else self._create(self._template)
        try:
            yield name
        finally:
            if self._emptied(name):
                self._spares.append(name)
            else:
                self._drop(name)

    def close(self) -> None:
        for name in (*self._spares, self._template):
            self._drop(name)
        self._admin.close()

    def _create(self, template: str) -> str:
        name = _new_name()
        self._admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def _rename(self, old: str) -> str:
        name = _new_name()
        self._admin.execute(f'ALTER DATABASE "{old}" RENAME TO "{name}"')
        return name

    def _drop(self, name: str) -> None:
        self._admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        self._admin.execute(f'DROP ROLE IF EXISTS "{console_role(name)}"')

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(f"{self.server}/{name}", autocommit=True)

    def _emptied(self, name: str) -> bool:
        """Remove every row; False if the schema is not the template's any more."""
        with self._connect(name) as connection:
            connection.execute(_END_OTHERS)
            try:
                changed = self._fingerprint(connection) != self._schema
            except psycopg.errors.UndefinedTable:
                changed = True
            if changed:
                return False
            connection.execute("SET session_replication_role = replica")
            filled = [table for table in self._filled(connection) if table not in self._seeds]
            for table in filled:
                connection.execute(f"DELETE FROM {table}")
            connection.execute("SELECT setval(seqrelid, seqstart, false) FROM pg_sequence")
            if filled:
                # Rows of the next test lie in the order in which it writes them.
                connection.execute(f"VACUUM {', '.join(filled)}")
        return True

    def _filled(self, connection: psycopg.Connection) -> list[str]:
        each = (f"SELECT '{t}' WHERE EXISTS (SELECT 1 FROM {t})" for t in self._tables)
        return [row[0] for row in connection.execute(" UNION ALL ".join(each))]

    def _fingerprint(self, connection: psycopg.Connection) -> list[Any]:
        """The transactions that wrote the schema, and the rows that migrations inserted."""
        parts = [f"SELECT COUNT(*), SUM(xmin::text::bigint)::text FROM {c}" for c in _CATALOGS]
        parts += [f"SELECT COUNT(*), STRING_AGG(t::text, ' ') FROM {t} t" for t in self._seeds]
        return connection.execute(" UNION ALL ".join(parts)).fetchall()


_TABLES = (
    "SELECT oid::regclass::text FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_CATALOGS = (
    *("pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_extension", "pg_namespace"),
    *("pg_policy", "pg_proc", "pg_rewrite", "pg_trigger", "pg_type"),
)


def _new_name() -> str:
    return f"headwise_test_{uuid.uuid4().hex[:12]}"


def rows(database: Database, sql: str, **values: Any) -> list[Any]:
    """Read rows as tuples."""
    with database.read() as tx:
        return [tuple(row) for row in tx.run(sql, **values)]


def one(database: Database, sql: str) -> Any:
    """Read the first column of the first row."""
    return rows(database, sql)[0][0]


def execute(database: Database, sql: str, **values: Any) -> None:
    """Change rows, in a transaction of its own."""
    with database.write() as tx:
        tx.run(sql, **values)
