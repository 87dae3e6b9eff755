"""One-time links, with which people choose a password: invitations and resets."""

from __future__ import annotations

from db.accounts.accounts import Account, account_of
from db.accounts.passwords import checked_password
from db.accounts.secret import hashed, new_secret
from db.database import Database
from jobs.errors import NotFoundError

HOURS = 48
"""Lifetime of a link."""
_DEAD = (
    "This link was used already, has expired, or was replaced. Ask an administrator for another."
)

OPEN = """
SELECT a.* FROM link l JOIN account a ON a.id = l.account_id
WHERE l.hash = :hash AND l.expires_at > {clock} AND NOT a.disabled
"""


def make(database: Database, account: Account) -> str:
    """A link's secret; the account's earlier links are dead, and its sessions have ended."""
    secret = new_secret()
    with database.write() as tx:
        for table in ("link", "session"):
            tx.run(f"DELETE FROM {table} WHERE account_id = :id", id=account.id)  # noqa: S608
        tx.run(
            "INSERT INTO link (hash, account_id, expires_at) "
            "VALUES (:hash, :id, {clock} + :seconds)",
            hash=hashed(secret),
            id=account.id,
            seconds=HOURS * 3600.0,
        )
    return secret


def find(database: Database, secret: str) -> Account:
    """The account of a link that can still be used. Raises NotFoundError."""
    found = database.rows(OPEN, hash=hashed(secret))
    if not found:
        raise NotFoundError(_DEAD)
    return account_of(found[0])


def use(database: Database, secret: str, password: str) -> Account:
    """Set the password of a link's account, once. Raises InputError and NotFoundError."""
    account = find(database, secret)
    stored = checked_password(password, account.name)
    with database.write() as tx:
        if not tx.run("DELETE FROM link WHERE hash = :hash", hash=hashed(secret)).rowcount:
            raise NotFoundError(_DEAD)
        tx.run("UPDATE account SET password = :p WHERE id = :id", p=stored, id=account.id)
        tx.run("DELETE FROM session WHERE account_id = :id", id=account.id)
    return account
