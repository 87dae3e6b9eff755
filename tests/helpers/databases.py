"""Migrated databases, made once and copied, and SQL on them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

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
