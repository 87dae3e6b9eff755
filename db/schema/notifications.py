"""The tables of notifications: who is told, about what, and what was delivered."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

recipient = Table(
    "recipient",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("user_name", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("secret", Text),
    Column("jobs", Text, nullable=False),
    Column("conditions", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("user_name", "name", name="uq_recipient_name"),
    sqlite_autoincrement=True,
    info=kept(Lifetime.INSTALLATION),
)
"""Addresses that notifications go to. `address` and `secret` are never shown again; `shown` is the
address without its secrets. Where nobody signs in, `user_name` is empty: it is told of all jobs."""

job_recipient = Table(
    "job_recipient",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("recipient_id", Integer, primary_key=True),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["recipient_id"], ["recipient.id"], ondelete="CASCADE"),
    Index("ix_job_recipient_recipient", "recipient_id"),
    info=kept(Lifetime.JOB),
)
"""Recipients that were asked for this job, besides those of its user's rules."""

open_condition = Table(
    "open_condition",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    info=kept(Lifetime.INSTALLATION),
)
"""Open faults of the installation, so that each is told once."""

notification = Table(
    "notification",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("recipient_id", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("message", Text),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("error", Text),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    ForeignKeyConstraint(["recipient_id"], ["recipient.id"], ondelete="CASCADE"),
    UniqueConstraint("recipient_id", "event", name="uq_notification_event"),
    Index("ix_notification_due", "state", "due_at"),
    sqlite_autoincrement=True,
    info=kept(Lifetime.INSTALLATION),
)
"""One row per event and recipient, which makes that nobody is told twice. An event is `job:12`,
`study:3`, `condition:disk:1790000000` or `test:1790000000`; the message of a job or study is made
when it is sent."""
