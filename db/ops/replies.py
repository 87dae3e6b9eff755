"""Answers that are kept, so that a request that is sent twice is carried out once."""

from __future__ import annotations

from dataclasses import dataclass

from db.database import Database

KEPT_SECONDS = 86_400
"""A key means the same request for a day."""

EXPIRE = "DELETE FROM reply WHERE created_at < {clock} - :age"
RESERVE = """
INSERT INTO reply (owner, key, request_hash, created_at)
VALUES (:owner, :key, :request_hash, {clock}) ON CONFLICT (owner, key) DO NOTHING
"""
FIND = "SELECT request_hash, status, body FROM reply WHERE owner = :owner AND key = :key"
KEEP = "UPDATE reply SET status = :status, body = :body WHERE owner = :owner AND key = :key"
RELEASE = "DELETE FROM reply WHERE owner = :owner AND key = :key AND status IS NULL"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The request that used a key first, as far as it is known."""

    request_hash: str
    status: int | None
    """Of its answer; None while it is not answered."""
    body: bytes | None


def reserve(database: Database, owner: str, key: str, request_hash: str) -> Reply | None:
    """Take a key for a request; returns what is known of the request that has it already.

    Whoever takes a key either keeps the answer or releases it. Where a process dies in between,
    nobody knows what it did, and the key stays taken until it expires.
    """
    with database.write() as tx:
        tx.run(EXPIRE, age=KEPT_SECONDS)
        mine = {"owner": owner, "key": key}
        if tx.run(RESERVE, **mine, request_hash=request_hash).rowcount == 1:
            return None
        row = tx.run(FIND, **mine).one()
        return Reply(
            request_hash=row.request_hash,
            status=row.status,
            body=None if row.body is None else bytes(row.body),
        )


def keep(database: Database, owner: str, key: str, status: int, body: bytes) -> None:
    """Keep the answer to the request that took a key."""
    with database.write() as tx:
        tx.run(KEEP, owner=owner, key=key, status=status, body=body)


def release(database: Database, owner: str, key: str) -> None:
    """Give a key back: its request was refused, and may be sent again."""
    with database.write() as tx:
        tx.run(RELEASE, owner=owner, key=key)
