"""The tables for operators: samples of the installation over time, and the sizes of jobs."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

sample = Table(
    "sample",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("starts_at", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("step", Integer, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("examples", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("ready", Integer),
    Column("waiting", BigInteger),
    Column("leased", Integer),
    Column("oldest", Double),
    Column("workers", Integer),
    Column("memory", BigInteger),
    Column("device_memory", BigInteger),
    Index("ix_sample_name", "subject", "name", "starts_at"),
    sqlite_with_rowid=False,
    info=kept(Lifetime.INSTALLATION),
)
"""Work of a queue, a worker or a user in the `step` seconds from `starts_at` on, a multiple of
`step`: attempts that ended, failures among them, examples stored, and seconds from claim to end.
The other columns are as they were when the step ended, null where no scheduler looked.
`db.ops.samples` says how long rows are kept."""

job_size = Table(
    "job_size",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("bytes", BigInteger, nullable=False),
    Column("details", BigInteger, nullable=False),
    Column("measured_at", Double, nullable=False),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    info=kept(Lifetime.JOB),
)
"""Approximate bytes of a job's rows, and of those among them that a purge removes."""
