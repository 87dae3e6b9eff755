"""The tables of the queue: shards, attempts at them, and their log."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata, partial_index

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
    partial_index("ix_shard_ready", "job_id", "lo", where="state = 'ready'"),
    info=kept(Lifetime.JOB),
)
"""Ranges of a job's examples, which at any time cover all of them. In a job with blocks a shard is
numbered by its first example, so that a part of it can become a shard with a free number; it is of
whole blocks (`jobs.scheduling.plan`), except for the parts of a block that raised an error. A ready
shard can be claimed from `available_at` on; `pace` is the seconds per example that its worker
expects."""

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
    Column("stage", Text),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    Index("ix_attempt_finished", "finished_at"),
    Index("ix_attempt_worker", "worker", "started_at"),
    info=kept(Lifetime.JOB),
)
"""Tries at shards. `stage` says where one is that may be lost: see `jobs.outcome.Stage`. The
indexes are for samples, the errors of a night, and the history of a worker."""

partial_block = Table(
    "partial_block",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("lo", Integer, primary_key=True),
    Column("hi", Integer, nullable=False),
    Column("finished", Integer, nullable=False),
    Column("numbers", Text, nullable=False),
    Column("results", LargeBinary, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("fingerprint", Text, nullable=False),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    info=kept(Lifetime.RUN, many_rows=True),
)
"""The finished batches of blocks whose attempt was stopped, see `jobs.outcome.PartialBlock`: one
row at most per ready shard, which begins at `lo`. `numbers` is JSON, `results` are of
`jobs.results.serialization`."""

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
    info=kept(Lifetime.JOB, many_rows=True),
)
"""Lines that processes logged about a job. `source` is the process, which numbers its lines;
`stored_at`, the time when a batch of lines was stored, orders the log for its followers. There is
no foreign key: with its lock on the job's row, a process that hangs while it logs would keep the
job from ending."""
