"""The audit log: who did what, from where and when."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from db.accounts.failures import WINDOW_SECONDS
from db.database import Database
from jobs.people import fold

LONGEST = 2_000
"""Characters that are kept of a value: queries may be longer."""

made: ContextVar[list[str] | None] = ContextVar("made", default=None)
"""Objects that the running request or command has made: `job 7`."""


def note_made(what: str) -> None:
    """Name something that was made, for the entry of what is running."""
    if (noted := made.get()) is not None:
        noted.append(what)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that somebody did."""

    user: str
    action: str
    address: str = ""
    object: str = ""
    """The object of the action: `job 7`, `account ada`."""
    detail: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Entry(Event):
    """An event as the log has it."""

    id: int
    at: float
    """Seconds since 1970, by the database's clock."""


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """The entries to list; empty values are every one."""

    user: str = ""
    action: str = ""
    object: str = ""
    since: float = 0.0
    """Seconds since 1970."""


_MATCHES = (
    "(:user = '' OR user_name = :user) AND (:action = '' OR action = :action) "
    "AND (:object = '' OR object = :object) AND at >= :since AND (:before = 0 OR id < :before)"
)


def write(database: Database, event: Event) -> None:
    """Add an entry."""
    detail = {key: _short(value) for key, value in (event.detail or {}).items()}
    with database.write() as tx:
        tx.run(
            "INSERT INTO audit (at, user_name, address, action, object, detail) "
            "VALUES ({clock}, :user, :address, :action, :object, :detail)",
            user=event.user,
            address=event.address,
            action=event.action,
            object=event.object[:200],
            detail=json.dumps(detail, ensure_ascii=False),
        )


def _short(value: object) -> object:
    text = value.replace("\0", "") if isinstance(value, str) else value
    return text[: LONGEST - 1] + "…" if isinstance(text, str) and len(text) > LONGEST else text


def list_entries(
    database: Database, wanted: AuditFilter, *, before: int = 0, limit: int = 50
) -> list[Entry]:
    """Entries, newest first; `before` is the number of the last one of the page before."""
    found = database.rows(
        "SELECT id, at, user_name, address, action, object, detail FROM audit "  # noqa: S608
        f"WHERE {_MATCHES} ORDER BY id DESC LIMIT :limit",
        user=fold(wanted.user),
        action=wanted.action,
        object=wanted.object,
        since=wanted.since,
        before=before,
        limit=limit,
    )
    return [
        Entry(
            id=row["id"],
            at=row["at"],
            user=row["user_name"],
            address=row["address"],
            action=row["action"],
            object=row["object"],
            detail=json.loads(row["detail"]),
        )
        for row in found
    ]


def list_actions(database: Database) -> list[str]:
    """The actions that the log has entries of."""
    return [row["action"] for row in database.rows("SELECT DISTINCT action FROM audit ORDER BY 1")]


def remove_old(database: Database, days: float) -> None:
    """Forget entries older than so many days (0 keeps all), and what has expired by itself."""
    with database.write() as tx:
        if days:
            tx.run("DELETE FROM audit WHERE at < {clock} - 86400 * :days", days=days)
        for table in ("session", "link"):
            tx.run(f"DELETE FROM {table} WHERE expires_at < {{clock}}")  # noqa: S608
        tx.run("DELETE FROM failed_sign_in WHERE since < {clock} - :window", window=WINDOW_SECONDS)
