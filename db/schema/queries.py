"""The table of the queries that people ran in the SQL console."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, Table, Text, UniqueConstraint

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

own_query = Table(
    "own_query",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("user_name", Text, nullable=False),
    Column("sql", Text, nullable=False),
    Column("title", Text),
    Column("link", Text, nullable=False),
    Column("ran_at", Double, nullable=False),
    UniqueConstraint("link", name="uq_own_query_link"),
    Index("ix_own_query_user", "user_name", "ran_at"),
    sqlite_autoincrement=True,
    info=kept(Lifetime.INSTALLATION),
)
"""A query of a person. With a title it is saved; the others are their history, of which the newest
are kept. Whoever has `link` may read it."""
