"""A scheduler that reports what it does, and time that passes in the database."""

from __future__ import annotations

from typing import Any

from db.database import Database
from db.ops.fleet import ProcessState, SchedulerIdentity

WHO = SchedulerIdentity(name="s", host="h", pid=1, broker="redis://b", heartbeat_seconds=10)
SAID: dict[str, Any] = {
    "state": ProcessState.RUNNING,
    "doing": None,
    "broker_error": None,
    "still": 0.0,
}


def shift(database: Database, table: str, column: str, seconds: float) -> None:
    """Move moments of a table into the past."""
    with database.write() as tx:
        tx.run(f"UPDATE {table} SET {column} = {column} - {seconds}")
