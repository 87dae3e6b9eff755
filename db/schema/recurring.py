"""The tables of recurring jobs."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, ForeignKeyConstraint, Integer, Table, Text

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

recurring = Table(
    "recurring",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("cron", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("submission", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double),
    Column("retry_at", Double, nullable=False),
    Column("error", Text),
    sqlite_autoincrement=True,
    info=kept(Lifetime.INSTALLATION),
)

recurring_run = Table(
    "recurring_run",
    metadata,
    Column("recurring_id", Integer, primary_key=True),
    Column("due_at", Double, primary_key=True),
    Column("missed_since", Double),
    Column("ran_at", Double, nullable=False),
    Column("job_id", Integer),
    Column("error", Text),
    ForeignKeyConstraint(["recurring_id"], ["recurring.id"], ondelete="CASCADE"),
    info=kept(Lifetime.INSTALLATION),
)
"""One row per time that was submitted or refused. Its job may have been deleted since."""
