"""The tables of jobs, their examples and studies."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    false,
    text,
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata, partial_index

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("spec_hash", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("control", Text, nullable=False),
    Column("error", Text),
    Column("plan_tries", Integer, nullable=False, server_default=text("0")),
    Column("plan_at", Double, nullable=False, server_default=text("0")),
    Column("dedupe_key", Text),
    Column("idempotency_key", Text),
    Column("data_fingerprint", Text),
    Column("model_fingerprint", Text),
    Column("labels", Text, nullable=False),
    Column("outputs", Text),
    Column("understood", Text),
    Column("layers", Integer),
    Column("heads", Integer),
    Column("examples", Integer, nullable=False),
    Column("cost", Double, nullable=False, server_default=text("1")),
    Column("characters", Double),
    Column("block", Integer, nullable=False, server_default=text("0")),
    Column("model", Text),
    Column("weight", Double, nullable=False, server_default=text("1")),
    Column("waits_from", BigInteger, nullable=False, server_default=text("0")),
    Column("quick", Boolean, nullable=False, server_default=false()),
    Column("place", Integer),
    Column("model_name", Text, nullable=False, server_default=""),
    Column("data_name", Text, nullable=False, server_default=""),
    Column("result_hash", Text),
    Column("warning", Text),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("elapsed_seconds", Double),
    Column("compute_seconds", Double),
    Column("deadline_at", Double),
    Column("keep_days", Double),
    Column("detail_days", Double, key="keep_details_days"),
    Column("purged_at", Double),
    Column("purging", Boolean, nullable=False, server_default=false()),
    Index("ix_job_state", "state"),
    Index("ix_job_shape", "kind", "layers", "heads", "id"),
    Index("ix_job_place", text("COALESCE(place, id)"), "id", "quick", "state"),
    Index(
        "ix_job_list",
        *("state", "control", "quick", "kind", "user_name", "model_name", "data_name", "name"),
        *("examples", "started_at", "finished_at", "compute_seconds", "place", "id"),
    ),
    Index("ix_job_finished_at", "finished_at"),
    partial_index(
        "uq_job_dedupe",
        "dedupe_key",
        unique=True,
        where="state NOT IN ('succeeded', 'failed', 'cancelled')",
    ),
    Index("uq_job_idempotency", "user_name", "idempotency_key", unique=True),
    sqlite_autoincrement=True,
    info=kept(Lifetime.JOB),
)
"""A job. `elapsed_seconds` and `compute_seconds` are stored at its end: for how long workers held
its shards, at least one of them and all of them added up. `place` is where lists show the jobs of a
study, the number of the newest of them; null for others, which stand at their own."""

job_parent = Table(
    "job_parent",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("parent_id", Integer, primary_key=True),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(
        ["parent_id"], ["job.id"], ondelete="CASCADE", name="fk_job_parent_parent"
    ),
    Index("ix_job_parent_parent", "parent_id"),
    info=kept(Lifetime.JOB),
)
"""The earlier jobs that a job needs because its specification names them."""

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    sqlite_autoincrement=True,
    info=kept(Lifetime.STUDY),
)

study_step = Table(
    "study_step",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("position", SmallInteger, nullable=False),
    Column("job_id", Integer, nullable=False),
    ForeignKeyConstraint(["study_id"], ["study.id"], ondelete="CASCADE"),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    Index("ix_study_step_job", "job_id"),
    info=kept(Lifetime.JOB),
)
"""The jobs of a study by step. A finished job may be a step of several studies."""

example = Table(
    "example",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("source_row", Integer, nullable=False),
    Column("text_a", Text, info=kept(Lifetime.DETAILS)),
    Column("text_b", Text, info=kept(Lifetime.DETAILS)),
    Column("text_hash", Text, nullable=False),
    Column("gold", SmallInteger),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    info=kept(Lifetime.JOB, many_rows=True),
)
