"""The queries of a person: those that they ran, and those that they saved.

They are private: another person sees one only by its link, which nobody can guess.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from db.database import Database
from db.transaction import Transaction
from jobs.errors import NotFoundError, refuse

MOST_RUN = 100
"""Queries of a person's history."""
MOST_SAVED = 50
"""Queries that a person may save."""
LONGEST_TITLE = 100
"""Characters of a title."""
_COLUMNS = "id, user_name, sql, title, link, ran_at"


@dataclass(frozen=True, kw_only=True)
class OwnQuery:
    """A query of a person."""

    id: int
    user_name: str
    sql: str
    title: str | None
    """The title that it was saved under; None for one that was run only."""
    link: str
    """The part of its address that nobody can guess."""
    ran_at: float
    """Last run or saved, seconds since 1970."""


def note(database: Database, user: str, sql: str) -> None:
    """Put a query that ran at the top of a person's history."""
    with database.write() as tx:
        if not _touch(tx, user, sql):
            _insert(tx, user, sql, None)
            tx.run(
                "DELETE FROM own_query WHERE user_name = :user AND title IS NULL AND id NOT IN "
                "(SELECT id FROM own_query WHERE user_name = :user AND title IS NULL "
                "ORDER BY ran_at DESC, id DESC LIMIT :most)",
                user=user,
                most=MOST_RUN,
            )


def save(database: Database, user: str, sql: str, title: str) -> OwnQuery:
    """Save a query of a person. Raises InputError."""
    title = checked_title(title)
    if not sql.strip():
        raise refuse("q", sql, "is empty", "Write a query to save.")
    with database.write() as tx:
        count = "SELECT COUNT(*) FROM own_query WHERE user_name = :user AND title IS NOT NULL"
        if tx.run(count, user=user).scalar_one() >= MOST_SAVED:
            raise refuse("title", title, f"is one of more than {MOST_SAVED}", "Delete some first.")
        number = _insert(tx, user, sql, title)
        return _one(tx, "id = :id", id=number)


def checked_title(title: str) -> str:
    """A title in one line. Raises InputError."""
    shown = " ".join(title.replace("\0", "").split())
    if not 1 <= len(shown) <= LONGEST_TITLE:
        message = f"must have 1 to {LONGEST_TITLE} characters"
        raise refuse("title", title, message, "Say what the query answers.")
    return shown


def rename(database: Database, user: str, number: int, title: str) -> OwnQuery:
    """Give a query of a person a title, which saves it. Raises InputError, NotFoundError."""
    title = checked_title(title)
    with database.write() as tx:
        own = _one(tx, "id = :id AND user_name = :user", id=number, user=user)
        tx.run("UPDATE own_query SET title = :title WHERE id = :id", title=title, id=own.id)
        return _one(tx, "id = :id", id=number)


def delete(database: Database, user: str, number: int) -> None:
    """Delete a query of a person. Raises NotFoundError."""
    with database.write() as tx:
        own = _one(tx, "id = :id AND user_name = :user", id=number, user=user)
        tx.run("DELETE FROM own_query WHERE id = :id", id=own.id)


def forget(database: Database, user: str) -> None:
    """Delete a person's history; what they saved stays."""
    with database.write() as tx:
        tx.run("DELETE FROM own_query WHERE user_name = :user AND title IS NULL", user=user)


def list_saved(database: Database, user: str) -> list[OwnQuery]:
    """The queries that a person saved, by title."""
    return _list(database, "title IS NOT NULL ORDER BY LOWER(title), id", user, MOST_SAVED)


def list_run(database: Database, user: str, most: int = MOST_RUN) -> list[OwnQuery]:
    """The queries that a person ran and has not saved, the last one first."""
    return _list(database, "title IS NULL ORDER BY ran_at DESC, id DESC", user, most)


def find(database: Database, link: str) -> OwnQuery:
    """The query of a link. Raises NotFoundError."""
    with database.read() as tx:
        return _one(tx, "link = :link", link=link)


def _list(database: Database, rest: str, user: str, most: int) -> list[OwnQuery]:
    sql = f"SELECT {_COLUMNS} FROM own_query WHERE user_name = :user AND {rest} LIMIT :most"  # noqa: S608
    return [OwnQuery(**row) for row in database.rows(sql, user=user, most=most)]


def _one(tx: Transaction, where: str, **values: object) -> OwnQuery:
    for row in tx.rows(f"SELECT {_COLUMNS} FROM own_query WHERE {where}", **values):  # noqa: S608
        return OwnQuery(**row)
    raise NotFoundError("There is no such query of yours. It may have been deleted.")


def _touch(tx: Transaction, user: str, sql: str) -> bool:
    """Set the time of a query that the person has already."""
    touched = tx.run(
        "UPDATE own_query SET ran_at = {clock} WHERE user_name = :user AND sql = :sql",
        user=user,
        sql=sql,
    )
    return touched.rowcount > 0


def _insert(tx: Transaction, user: str, sql: str, title: str | None) -> int:
    number = tx.run(
        "INSERT INTO own_query (user_name, sql, title, link, ran_at) "
        "VALUES (:user, :sql, :title, :link, {clock}) RETURNING id",
        user=user,
        sql=sql,
        title=title,
        link=secrets.token_urlsafe(16),
    ).scalar_one()
    return int(number)
