"""A database in which every value is recognizable: the canaries of the SQL console's tests.

Rows are generated from the schema, so a new table or column is covered at once. A canary is secret
when no published view shows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    text,
)

from db.database import Database
from db.schema import metadata
from db.views import VIEW_NAMES

FINISHED, DELETED, RUNNING = 1, 2, 3
"""Numbers of the jobs; the running one has examples, but no results."""
_KEYS = {
    column.name
    for table in metadata.tables.values()
    for column in table.primary_key
    if isinstance(column.type, Integer)
} | {"layers", "heads", "layer"}
"""Integer columns that rows are joined by: they hold small numbers."""

_HEXADECIMAL = b"canary".hex()


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Values that must not be seen, and where they are."""

    secret: dict[object, str]
    """Table and column of every canary that no published view shows."""

    def seen_in(self, rows: Iterable[Iterable[object]]) -> set[str]:
        """Places of the secret values that rows show, whole or as a part of a text."""
        places = {
            value.decode() if isinstance(value, bytes) else value: place
            for value, place in self.secret.items()
            if isinstance(value, str | bytes)
        }
        found: set[str] = set()
        for row in rows:
            for value in row:
                if isinstance(value, bytes):
                    value = value.decode("latin-1")
                if isinstance(value, str):
                    if "canary" in value or _HEXADECIMAL in value:
                        found.update(places[one] for one in places if _stands_in(one, value))
                elif value in self.secret and not isinstance(value, bool):
                    found.add(self.secret[value])
        return found


def _stands_in(canary: str, value: str) -> bool:
    """Say if a value has a canary, as text or as the console shows bytes."""
    return canary in value or canary.encode().hex() in value


def fill(database: Database) -> Canaries:
    """Fill every table with canaries; return those that are secret."""
    numbers = count(1)
    planted: dict[object, str] = {}
    with database.write() as tx:
        if database.dialect == "sqlite":
            tx.connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for table in metadata.sorted_tables:
            if table.name == "published":  # one row, which migrations compare
                continue
            jobs = [FINISHED, DELETED]
            if table.name in ("job", "example"):
                jobs.append(RUNNING)
            rows = []
            for job in jobs:
                row = {c.name: _value(c, job, next(numbers)) for c in table.columns}
                planted |= {row[c.name]: f"{table.name}.{c.name}" for c in table.columns}
                if table.name == "job":
                    row["state"] = {FINISHED: "succeeded", DELETED: "deleting"}.get(job, "running")
                    row["purged_at"] = None
                rows.append(row)
            tx.connection.execute(table.insert(), rows)
        if database.dialect == "postgresql":  # sequences do not notice numbers that are given
            tx.run("SELECT setval(seqrelid, 1000) FROM pg_sequence")
    shown = _shown(database)
    return Canaries(secret={v: place for v, place in planted.items() if _told(v, shown)})


def _value(column: Column[object], job: int, number: int) -> object:
    """A value of the column's type that is like no other, but for keys and small types."""
    kind = column.type
    if column.name == "job_id" or column.foreign_keys or column.name in _KEYS:
        return job if isinstance(kind, Integer) else _text(column, number)
    if isinstance(kind, Text):
        return _text(column, number)
    if isinstance(kind, LargeBinary):
        return _text(column, number).encode()
    if isinstance(kind, Boolean):
        return job == FINISHED
    if isinstance(kind, SmallInteger):
        return job
    if isinstance(kind, BigInteger | Integer):
        return 1_000_000_000 + 700_001 * number  # far apart: sums do not meet another
    if isinstance(kind, Double):
        return 1_000_000_000.372 + 700_001 * number
    return 0.5  # REAL keeps too few digits


_JSON = {
    "job.labels": '["{}"]',
    "attempt.versions": '{{"headwise": "{}"}}',
    "example_result.probabilities": "[0.5]",
}
"""Texts of columns that views read as JSON."""


def _text(column: Column[object], number: int) -> str:
    place = f"{column.table.name}.{column.name}"
    return _JSON.get(place, "{}").format(f"canary{number:05d}of{place}")


def _shown(database: Database) -> set[object]:
    with database.read() as tx:
        return {
            value
            for view in VIEW_NAMES
            for row in tx.connection.execute(text(f"SELECT * FROM {view}"))
            for value in row
        }


def _told(value: object, shown: set[object]) -> bool:
    """The value is unique enough to be recognized, and no view shows it."""
    recognizable = isinstance(value, str | bytes) or (
        isinstance(value, int | float) and value > 1_000_000_000
    )
    return recognizable and value not in shown
