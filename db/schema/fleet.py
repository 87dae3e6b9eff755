"""The tables of an installation: its processes, counts of attempts, and version of the schema."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Integer,
    SmallInteger,
    Table,
    Text,
)

from db.schema.lifetimes import Lifetime, kept
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
    Column("report", Text),
    info=kept(Lifetime.INSTALLATION),
)
"""Scheduler processes at their last heartbeat; `moved_at` is the end of the last round, `report`
a `jobs.processes.report.Report`."""

process = Table(
    "process",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("report", Text),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("beat_seconds", Double, nullable=False),
    info=kept(Lifetime.INSTALLATION),
)
"""Dashboards and supervisors at their last heartbeat."""

attempt_count = Table(
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
    info=kept(Lifetime.INSTALLATION),
)
"""Counts of ended attempts for /metrics, which outlive their jobs. Each process has its own rows,
so that none waits for another; those of processes that are gone are added to the source ''."""

usage = Table(
    "usage",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("seconds", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    info=kept(Lifetime.INSTALLATION),
)
"""Seconds that workers computed for a user, decayed to `updated_at`; see `db.queue.usage`. The
source is the worker's machine."""

fair_share = Table(
    "fair_share",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("half_life", Double, nullable=False),
    Column("ageing", Integer, nullable=False),
    info=kept(Lifetime.INSTALLATION),
)
"""One row: the rules of `jobs.scheduling.fair_share`, as the scheduler was started with."""

claim_count = Table(
    "claim_count",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("priority", Integer, primary_key=True, autoincrement=False),
    Column("user_name", Text, primary_key=True),
    Column("claims", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    info=kept(Lifetime.INSTALLATION),
)
"""Claims of each user in a queue at a priority, while others waited there. Their sum numbers the
claims: `last_at` is the number of the user's last one, and `job.waits_from` that of the last one
before the job could be claimed."""

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
    Column("vitals", Text, key="resource_usage"),
    Column("moved_at", Double),
    Column("report", Text),
    info=kept(Lifetime.INSTALLATION),
)
"""Worker processes at their last heartbeat. `beat_seconds` is the time between heartbeats,
`resource_usage` a JSON object, `moved_at` when its loop last went on, `report` a
`jobs.processes.report.Report`."""

published = Table(
    "published",
    metadata,
    Column("views_hash", Text, primary_key=True),
    Column("oldest_code", Text),
    info=kept(Lifetime.INSTALLATION),
)
"""One row: the version of the published views in the database, and the oldest revision whose code
works on the schema."""
