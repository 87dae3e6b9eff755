"""Accounts: who may come in, as what, and that one administrator always can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import RowMapping

from db.accounts.passwords import checked_password
from db.database import WRITTEN_BY_ANOTHER, Database
from db.queue.recurring import pause_of
from db.transaction import Transaction
from jobs.errors import ConflictError, InputError, NotFoundError
from jobs.people import LONGEST_NAME, Role, checked_name, fold

_COLUMNS = "a.id, a.name, a.folded, a.role, a.password, a.disabled, a.created_at, a.signed_in_at"

ADMINISTRATORS = """
SELECT COUNT(*) FROM account a WHERE a.role = 'admin' AND NOT a.disabled
  AND (a.password IS NOT NULL OR EXISTS (SELECT 1 FROM identity i WHERE i.account_id = a.id)
       OR EXISTS (SELECT 1 FROM link l WHERE l.account_id = a.id AND l.expires_at > {clock}))
"""
"""Administrators who can sign in."""

NAME_IN_USE = """
SELECT EXISTS (SELECT 1 FROM account WHERE folded = :folded)
    OR EXISTS (SELECT 1 FROM job WHERE user_name = :folded)
    OR EXISTS (SELECT 1 FROM study WHERE user_name = :folded)
    OR EXISTS (SELECT 1 FROM recurring WHERE user_name = :folded)
"""
"""True if somebody has a name, or had it: jobs, studies or recurring jobs are theirs."""

PROXY = "proxy"
"""Stands for the issuer of the names that a trusted proxy gives."""

UNTOLD = """
DELETE FROM notification WHERE state = 'waiting'
  AND recipient_id IN (SELECT id FROM recipient WHERE user_name = :folded)
"""
"""Notifications that wait for a person."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A person, as stored."""

    id: int
    name: str
    """As it was typed."""
    folded: str
    """As names are compared, and as the person's jobs have it."""
    role: Role
    password: str | None
    """The hash."""
    disabled: bool
    created_at: float
    signed_in_at: float | None


def account_of(row: RowMapping) -> Account:
    """The account of a row that has its columns."""
    values = {name: row[name] for name in Account.__dataclass_fields__}
    return Account(**{**values, "role": Role(row["role"]), "disabled": bool(row["disabled"])})


def list_accounts(database: Database) -> list[Account]:
    """Every account, by name."""
    found = database.rows(f"SELECT {_COLUMNS} FROM account a ORDER BY a.folded")  # noqa: S608
    return [account_of(row) for row in found]


def find(database: Database, name: str) -> Account | None:
    """The account of a name, however it is written."""
    query = f"SELECT {_COLUMNS} FROM account a WHERE a.folded = :folded"  # noqa: S608
    found = database.rows(query, folded=fold(name))
    return account_of(found[0]) if found else None


def get(database: Database, name: str) -> Account:
    """The account of a name. Raises NotFoundError."""
    if (found := find(database, name)) is None:
        raise NotFoundError(f"There is no account {name[:100]!r}; `headwise user list` lists them.")
    return found


def get_number(database: Database, number: int) -> Account:
    """The account of a number. Raises NotFoundError."""
    query = f"SELECT {_COLUMNS} FROM account a WHERE a.id = :number"  # noqa: S608
    found = database.rows(query, number=number)
    if not found:
        raise NotFoundError(f"There is no account {number}.")
    return account_of(found[0])


def can_sign_in(database: Database) -> bool:
    """True once an administrator can sign in."""
    return bool(database.value(ADMINISTRATORS))


def add(database: Database, name: str, role: Role) -> Account:
    """Add an account without a way in. Raises InputError, and ConflictError for a name in use."""
    shown = checked_name(name)
    values = {"name": shown, "folded": fold(shown), "role": role.value}
    try:
        with database.write() as tx:
            _insert(tx, values)
    except WRITTEN_BY_ANOTHER:
        raise ConflictError(f"There is an account {shown!r} already.") from None
    return get(database, shown)


def _insert(tx: Transaction, values: dict[str, str]) -> int:
    return int(
        tx.run(
            "INSERT INTO account (name, folded, role, created_at) "
            "VALUES (:name, :folded, :role, {clock}) RETURNING id",
            **values,
        ).scalar_one()
    )


def find_identity(database: Database, issuer: str, subject: str) -> Account | None:
    """The account of somebody at an identity provider."""
    query = (
        f"SELECT {_COLUMNS} FROM identity i JOIN account a ON a.id = i.account_id "  # noqa: S608
        "WHERE i.issuer = :issuer AND i.subject = :subject"
    )
    found = database.rows(query, issuer=issuer, subject=subject)
    return account_of(found[0]) if found else None


def add_identity(
    database: Database, issuer: str, subject: str, names: Sequence[str], role: Role
) -> Account:
    """Add an account for somebody who comes from an identity provider for the first time.

    It has the first of the names that can be one, with a number where that is in use: a provider's
    name must not take over an account, or the jobs of somebody who was removed.
    """
    shown = next(filter(None, map(_usable, names)), "person")
    for number in range(1, 1_000):
        name = shown if number == 1 else f"{shown}-{number}"
        values = {"name": name, "folded": fold(name), "role": role.value}
        try:
            with database.write() as tx:
                if tx.run(NAME_IN_USE, folded=values["folded"]).scalar_one():
                    continue
                tx.run(
                    "INSERT INTO identity (issuer, subject, account_id) VALUES (:i, :s, :account)",
                    i=issuer,
                    s=subject,
                    account=_insert(tx, values),
                )
        except WRITTEN_BY_ANOTHER:
            if (found := find_identity(database, issuer, subject)) is not None:
                return found
            continue
        return get(database, name)
    raise ConflictError(f"Too many people are called {shown!r}.")


def link_identity(database: Database, account: Account, issuer: str, subject: str) -> None:
    """Let somebody come into an account by an identity, too.

    Raises ConflictError for an identity that another account has.
    """
    try:
        with database.write() as tx:
            tx.run(
                "INSERT INTO identity (issuer, subject, account_id) VALUES (:i, :s, :account)",
                i=issuer,
                s=subject,
                account=account.id,
            )
    except WRITTEN_BY_ANOTHER:
        found = find_identity(database, issuer, subject)
        if found is None or found.id != account.id:
            raise ConflictError(
                "Another account has this identity. An administrator can unlink it there."
            ) from None


def unlink(database: Database, account: Account) -> None:
    """Take an account's identities away, and end the sessions that did not begin with a password.

    Raises ConflictError where there are none, and for the last administrator.
    """
    with _keeping_an_administrator(database, account) as tx:
        if not tx.run("DELETE FROM identity WHERE account_id = :id", id=account.id).rowcount:
            raise ConflictError(f"{account.name} has no identity to unlink.")
        tx.run("DELETE FROM session WHERE account_id = :id AND way <> 'password'", id=account.id)


def with_identity(database: Database) -> set[int]:
    """The numbers of the accounts that an identity provider or a proxy knows."""
    return {row["id"] for row in database.rows("SELECT DISTINCT account_id AS id FROM identity")}


def _usable(name: str) -> str:
    try:
        return checked_name(name)[: LONGEST_NAME - 4]
    except InputError:
        return ""


def note_visit(database: Database, account: Account) -> bool:
    """Note that somebody came by a proxy; True if it is the first time within an hour."""
    query = "SELECT COALESCE(signed_in_at, 0) < {clock} - 3600 FROM account WHERE id = :id"
    if not database.value(query, id=account.id):
        return False
    note = (
        "UPDATE account SET signed_in_at = {clock} "
        "WHERE id = :id AND COALESCE(signed_in_at, 0) < {clock} - 3600"
    )
    with database.write() as tx:
        first = tx.run(note, id=account.id).rowcount == 1  # another request may have been faster
        tx.run(
            "INSERT INTO identity (issuer, subject, account_id) VALUES (:proxy, :name, :id) "
            "ON CONFLICT (issuer, subject) DO NOTHING",
            proxy=PROXY,
            name=account.folded,
            id=account.id,
        )
    return first


def set_role(database: Database, account: Account, role: Role) -> None:
    """Change a role. Raises ConflictError for the last administrator."""
    with _keeping_an_administrator(database, account) as tx:
        tx.run("UPDATE account SET role = :role WHERE id = :id", role=role.value, id=account.id)


def set_disabled(database: Database, account: Account, disabled: bool) -> list[int]:
    """Refuse somebody, or let them in again; refusing ends their sessions.

    Returns the recurring jobs that were paused: nobody submits in their name meanwhile. Raises
    ConflictError for the last administrator.
    """
    with _keeping_an_administrator(database, account) as tx:
        tx.run(
            "UPDATE account SET disabled = :disabled WHERE id = :id",
            disabled=disabled,
            id=account.id,
        )
        if disabled:
            tx.run("DELETE FROM session WHERE account_id = :id", id=account.id)
            tx.run("DELETE FROM link WHERE account_id = :id", id=account.id)
            tx.run(UNTOLD, folded=account.folded)
            return pause_of(tx, account.folded, f"the account {account.name} was disabled")
    return []


def remove(database: Database, account: Account) -> list[int]:
    """Remove an account with what is its person's alone; its jobs stay and go on.

    Sessions, tokens, recipients of notifications and queries of the console go: somebody who gets
    the name later must not find them. Returns the recurring jobs that were paused. Raises
    ConflictError for the last administrator.
    """
    with _keeping_an_administrator(database, account) as tx:
        tx.run("DELETE FROM account WHERE id = :id", id=account.id)
        for table in ("recipient", "own_query"):
            tx.run(f"DELETE FROM {table} WHERE user_name = :name", name=account.folded)  # noqa: S608
        return pause_of(tx, account.folded, f"the account {account.name} was removed")


def set_password(
    database: Database, account: Account, password: str, *, keep_session: int | None = None
) -> None:
    """Set a password, and end every session but `keep_session`. Raises InputError."""
    stored = checked_password(password, account.name)
    with database.write() as tx:
        tx.run("UPDATE account SET password = :p WHERE id = :id", p=stored, id=account.id)
        tx.run("DELETE FROM link WHERE account_id = :id", id=account.id)
        tx.run(
            "DELETE FROM session WHERE account_id = :id AND id <> :kept",
            id=account.id,
            kept=keep_session or 0,
        )


@contextmanager
def _keeping_an_administrator(database: Database, account: Account) -> Iterator[Transaction]:
    """A transaction that is rolled back where it would lock out the last administrator."""
    with database.write() as tx:
        if tx.dialect == "postgresql":  # two of them may demote each other at once
            tx.run("SELECT pg_advisory_xact_lock(7231)")
        before = tx.run(ADMINISTRATORS).scalar_one()
        yield tx
        if before and not tx.run(ADMINISTRATORS).scalar_one():
            raise ConflictError(
                f"{account.name} is the last administrator who can sign in. "
                "Make somebody else an administrator first."
            )
