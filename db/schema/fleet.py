"""The tables of what processes say of themselves: schedulers, logs, tallies. See `db.schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
)

from db.schema.metadata import metadata

scheduler = Table(
    "scheduler",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("doing", Text),
    Column("broker", Text, nullable=False),
    Column("broker_error", Text),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("moved_at", Double, nullable=False),
    Column("beat_seconds", Double, nullable=False),
)
"""Scheduler processes as they last said; `moved_at` is the end of the last round."""

job_log = Table(
    "job_log",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("line_no", BigInteger, primary_key=True),
    Column("shard_no", Integer),
    Column("fence", Integer),
    Column("at", Double, nullable=False),
    Column("stored_at", Double, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("details", Text, nullable=False),
    Index("ix_job_log_stored", "job_id", "stored_at", "source", "line_no"),
    sqlite_with_rowid=False,
)
"""Lines that processes logged about a job. `source` is the process, which numbers its lines;
`stored_at` is when a batch of them came, and orders the log for readers who follow it. No foreign
key: its lock on the job's row would let a process that hangs while it logs hold up the end."""

tally = Table(
    "tally",
    metadata,
    Column("source", Text, primary_key=True),
    Column("queue", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("bucket", SmallInteger, primary_key=True),
    Column("attempts", BigInteger, nullable=False),
    Column("again", BigInteger, nullable=False),
    Column("examples", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("head_scores", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)
"""Attempts that ended, added up for /metrics: they outlive their jobs. Each process has rows of its
own, so that none waits for another; those of processes that are gone are added to the source ''."""

worker = Table(
    "worker",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("job_id", Integer),
    Column("shard_no", Integer),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("beat_seconds", Double),
    Column("vitals", Text),
)
"""`beat_seconds` is the time between its heartbeats, `vitals` what it uses, a JSON object."""
