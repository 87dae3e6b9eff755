"""The tables of the queue: shards and attempts at them."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from db.schema.metadata import metadata as metadata

_READY = text("state = 'ready'")
shard = Table(
    "shard",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("shard_no", Integer, primary_key=True),
    Column("lo", Integer, nullable=False),
    Column("hi", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("fence", Integer, nullable=False, server_default=text("0")),
    Column("owner", Text),
    Column("lease_until", Double),
    Column("available_at", Double, nullable=False),
    Column("dispatched_at", Double),
    Column("progress", Integer, nullable=False, server_default=text("0")),
    Column("moved_at", Double),
    Column("examples_failed", Integer, nullable=False, server_default=text("0")),
    Column("errors", Integer, nullable=False, server_default=text("0")),
    Column("losses", Integer, nullable=False, server_default=text("0")),
    Column("error", Text),
    Column("pace", Double),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    Index("ix_shard_state", "state", "job_id", "available_at"),
    Index("ix_shard_ready", "job_id", "lo", postgresql_where=_READY, sqlite_where=_READY),
)
"""Ranges of a job's examples; together they are the job, at any time. Of a job with blocks a shard
is numbered by its first example, so that a part of it that becomes a shard of its own has a free
number; it begins and ends at multiples of `job.block`, but for the parts of a block that raised.
`available_at` is since when it is ready, `pace` the seconds per example that its worker expects."""

attempt = Table(
    "attempt",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("shard_no", Integer, primary_key=True),
    Column("fence", Integer, primary_key=True),
    Column("worker", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("outcome", Text),
    Column("examples", Integer),
    Column("seconds", Double),
    Column("error", Text),
    Column("log_tail", Text),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
)
