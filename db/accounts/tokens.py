"""Personal tokens, with which programs use the API in a person's name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from db.accounts.accounts import Account, account_of
from db.accounts.secret import hashed, new_secret
from db.database import Database
from jobs.errors import NotFoundError, refuse
from jobs.people import Role

PREFIX = "hw_"
"""Every token begins with it, so that scanners of published code find them."""
MOST_DAYS = 3_650.0
DEFAULT_DAYS = 90.0
USED_SECONDS = 60.0
"""Precision of the stored last use."""


class Scope(StrEnum):
    """The part of its person's rights that a token has."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    @property
    def role(self) -> Role:
        """The role with these rights."""
        return {Scope.READ: Role.VIEWER, Scope.SUBMIT: Role.MEMBER, Scope.ADMIN: Role.ADMIN}[self]


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The person and the rights of a valid token."""

    number: int
    account: Account
    scope: Scope
    expires_at: float | None


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token, without its secret."""

    id: int
    prefix: str
    """Its first characters, by which its person recognises it."""
    account: str
    name: str
    scope: Scope
    created_at: float
    expires_at: float | None
    used_at: float | None
    expired: bool


FIND = """
SELECT a.*, t.id AS token_id, t.scope, t.expires_at,
    COALESCE(t.used_at, 0) < {clock} - :exactly AS stale
FROM token t JOIN account a ON a.id = t.account_id
WHERE t.hash = :hash AND (t.expires_at IS NULL OR t.expires_at > {clock}) AND NOT a.disabled
"""

LIST = """
SELECT t.id, t.prefix, a.name AS account, t.name, t.scope, t.created_at, t.expires_at, t.used_at,
    COALESCE(t.expires_at <= {clock}, FALSE) AS expired
FROM token t JOIN account a ON a.id = t.account_id
WHERE :account IN (0, t.account_id) ORDER BY t.id
"""

REVOKE = """
DELETE FROM token WHERE id = :id AND :account IN (0, account_id)
RETURNING (SELECT folded FROM account WHERE id = account_id)
"""


def make(
    database: Database,
    account: Account,
    name: str,
    scope: Scope,
    days: float | None = DEFAULT_DAYS,
) -> tuple[int, str]:
    """A token's number and secret; None for days is a token that never expires.

    Raises InputError.
    """
    shown = " ".join(name.replace("\0", "").split())
    if not 1 <= len(shown) <= 100:
        raise refuse("name", name, "must have 1 to 100 characters", "Say what the token is for.")
    if scope.role.rank > account.role.rank:
        message = f"is more than a {account.role.value} may do"
        raise refuse("scope", scope.value, message, "Choose read or submit.")
    if days is not None and not 0 < days <= MOST_DAYS:
        message = f"must be more than 0 and at most {MOST_DAYS:,.0f} days"
        raise refuse("days", days, message, f"Default: {DEFAULT_DAYS:g}.")
    secret = new_secret(PREFIX)
    with database.write() as tx:
        number = tx.run(
            "INSERT INTO token (hash, prefix, account_id, name, scope, created_at, expires_at) "
            "VALUES (:hash, :prefix, :account, :name, :scope, {clock}, {clock} + :seconds) "
            "RETURNING id",
            hash=hashed(secret),
            prefix=secret[: len(PREFIX) + 6],
            account=account.id,
            name=shown,
            scope=scope.value,
            seconds=None if days is None else days * 86_400.0,
        ).scalar_one()
    return int(number), secret


def find(database: Database, secret: str) -> Grant | None:
    """The grant of a token, if it is valid; its last use is now."""
    found = database.rows(FIND, hash=hashed(secret), exactly=USED_SECONDS)
    if not found:
        return None
    row = found[0]
    if row["stale"]:
        with database.write() as tx:
            tx.run("UPDATE token SET used_at = {clock} WHERE id = :id", id=row["token_id"])
    return Grant(
        number=row["token_id"],
        account=account_of(row),
        scope=Scope(row["scope"]),
        expires_at=row["expires_at"],
    )


def list_tokens(database: Database, account: Account | None = None) -> list[Token]:
    """The tokens of an account, or of all."""
    found = database.rows(LIST, account=account.id if account else 0)
    return [
        Token(**{**row, "scope": Scope(row["scope"]), "expired": bool(row["expired"])})
        for row in found
    ]


def revoke(database: Database, number: int, account: Account | None = None) -> str:
    """Revoke a token, of the account where one is given; returns whose it was.

    Raises NotFoundError.
    """
    with database.write() as tx:
        owner: str | None = tx.run(REVOKE, id=number, account=account.id if account else 0).scalar()
    if owner is None:
        raise NotFoundError(f"There is no token {number}.")
    return owner
