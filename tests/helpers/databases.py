"""Migrated databases, made once and copied."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

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
