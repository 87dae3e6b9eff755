"""The owners of jobs, studies and recurring jobs."""

from __future__ import annotations

from db.database import Database


def owner_of(database: Database, table: str, number: int) -> str | None:
    """The name of the owner of a row; None where there is no such row.

    table: one whose rows have a number and a user
    """
    query = f"SELECT user_name FROM {table} WHERE id = :number"  # noqa: S608 - a table's name
    found: str | None = database.value(query, number=number)
    return found
