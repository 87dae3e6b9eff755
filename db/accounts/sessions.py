"""Sessions: kept here, so that they can be listed and ended."""

from __future__ import annotations

from dataclasses import dataclass

from db.accounts.accounts import Account, account_of
from db.accounts.secret import hashed, new_secret
from db.database import Database

IDLE_SECONDS = 7 * 86_400.0
"""A session that nobody uses ends after this time."""
SEEN_SECONDS = 60.0
"""Precision of the stored last use: a write for every request would be many."""

FIND = """
SELECT a.*, s.id AS session_id, s.seen_at < {clock} - :exactly AS stale
FROM session s JOIN account a ON a.id = s.account_id
WHERE s.hash = :hash AND s.expires_at > {clock} AND s.seen_at > {clock} - :idle AND NOT a.disabled
"""

LIST = """
SELECT id, way, address, agent, created_at, seen_at, expires_at FROM session
WHERE account_id = :account AND expires_at > {clock} AND seen_at > {clock} - :idle
ORDER BY seen_at DESC, id DESC
"""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A browser in which somebody is signed in."""

    id: int
    way: str
    """The way in: password, oidc or proxy."""
    address: str
    agent: str
    """The name that the browser gives itself."""
    created_at: float
    seen_at: float
    expires_at: float


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A new session: what is stored of how it began."""

    way: str
    address: str
    agent: str
    seconds: float
    """Longest lifetime."""


def start(database: Database, account: Account, visit: Visit) -> str:
    """Begin a session; returns its secret."""
    secret = new_secret()
    with database.write() as tx:
        tx.run(
            "INSERT INTO session "
            "(hash, account_id, way, address, agent, created_at, seen_at, expires_at) "
            "VALUES (:hash, :account, :way, :address, :agent, "
            "{clock}, {clock}, {clock} + :seconds)",
            hash=hashed(secret),
            account=account.id,
            way=visit.way,
            address=visit.address,
            agent=visit.agent[:200],
            seconds=visit.seconds,
        )
        tx.run("UPDATE account SET signed_in_at = {clock} WHERE id = :id", id=account.id)
    return secret


def find(database: Database, secret: str) -> tuple[int, Account] | None:
    """The number and the account of a session that is alive; its last use is now."""
    given = {"hash": hashed(secret), "exactly": SEEN_SECONDS, "idle": IDLE_SECONDS}
    found = database.rows(FIND, **given)
    if not found:
        return None
    number = int(found[0]["session_id"])
    if found[0]["stale"]:
        with database.write() as tx:
            tx.run("UPDATE session SET seen_at = {clock} WHERE id = :id", id=number)
    return number, account_of(found[0])


def list_sessions(database: Database, account: Account) -> list[Session]:
    """The sessions of an account that are alive, the last used first."""
    found = database.rows(LIST, account=account.id, idle=IDLE_SECONDS)
    return [Session(**row) for row in found]


def end(database: Database, account: Account, number: int | None = None) -> int:
    """End one session of an account, or all of them; returns how many ended."""
    one = "" if number is None else " AND id = :number"
    with database.write() as tx:
        statement = f"DELETE FROM session WHERE account_id = :account{one}"  # noqa: S608
        given = {"account": account.id} | ({} if number is None else {"number": number})
        return int(tx.run(statement, **given).rowcount)
