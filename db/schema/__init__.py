"""The tables. Private: what others may rely on are the views in `db.views`.

Tables have singular names, the published views plural ones. Times are seconds since 1970 (UTC)
by the database's clock. A result row carries no state: it exists if and only if the shard that
holds its example is done, because a shard's results and its state change in one transaction.
"""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    false,
    text,
)

from db.kind_tables import attack_trigger as attack_trigger
from db.kind_tables import curve_point as curve_point
from db.kind_tables import head_value as head_value
from db.kind_tables import mask as mask
from db.kind_tables import mask_result as mask_result
from db.kind_tables import mask_sum as mask_sum
from db.kind_tables import pruning as pruning
from db.kind_tables import ranking as ranking
from db.kind_tables import ranking_sum as ranking_sum
from db.kind_tables import trigger_outcome as trigger_outcome
from db.kind_tables import trigger_result as trigger_result
from db.kind_tables import trigger_source as trigger_source
from db.kind_tables import trigger_sum as trigger_sum
from db.metadata import metadata as metadata
from db.recurring_tables import recurring as recurring
from db.recurring_tables import recurring_run as recurring_run
from db.watch_tables import job_log as job_log
from db.watch_tables import scheduler as scheduler
from db.watch_tables import tally as tally

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
    Column("layers", Integer),
    Column("heads", Integer),
    Column("examples", Integer, nullable=False),
    Column("cost", Double, nullable=False, server_default=text("1")),
    Column("block", Integer, nullable=False, server_default=text("0")),
    Column("model", Text),
    Column("result_hash", Text),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("deadline_at", Double),
    Column("keep_days", Double),
    Column("detail_days", Double),
    Column("purged_at", Double),
    Column("purging", Boolean, nullable=False, server_default=false()),
    Index("ix_job_state", "state"),
    Index(
        "uq_job_dedupe",
        "dedupe_key",
        unique=True,
        sqlite_where=text("state NOT IN ('succeeded', 'failed', 'cancelled')"),
        postgresql_where=text("state NOT IN ('succeeded', 'failed', 'cancelled')"),
    ),
    Index("uq_job_idempotency", "user_name", "idempotency_key", unique=True),
    sqlite_autoincrement=True,
)

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
)
"""Which earlier jobs a job needs: those that its specification names."""

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    sqlite_autoincrement=True,
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
)
"""A study's jobs by the names they have in it. A finished job may be a step of several studies."""

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

example = Table(
    "example",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("source_row", Integer, nullable=False),
    Column("text_a", Text),
    Column("text_b", Text),
    Column("text_hash", Text, nullable=False),
    Column("gold", SmallInteger),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
)

example_result = Table(
    "example_result",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("fence", Integer, nullable=False),
    Column("predicted", SmallInteger),
    Column("target", SmallInteger),
    Column("probabilities", Text),
    Column("tokens", Text),
    Column("token_attribution", Text),
    Column("interactions", Text),
    Column("truncated", Boolean, nullable=False),
    Column("error", Text),
    *(
        Index(
            f"ix_example_result_{name}",
            "job_id",
            "example_no",
            sqlite_where=text(condition),
            postgresql_where=text(condition),
        )
        for name, condition in (("failed", "error IS NOT NULL"), ("truncated", "truncated"))
    ),
)
"""The indices are of the few that are asked for by name; a job's rows would be searched else."""


site = Table(
    "site",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("layer", SmallInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("heads", SmallInteger, nullable=False),
    Column("name", Text, nullable=False),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
)

head_score = Table(
    "head_score",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("head", SmallInteger, primary_key=True),
    Column("score", REAL, nullable=False),
    Column("total", REAL, nullable=False),
    Column("query", SmallInteger, nullable=False),
    Column("key", SmallInteger, nullable=False),
    Column("attention_max", REAL, nullable=False),
    Column("attention_mean", REAL, nullable=False),
    sqlite_with_rowid=False,
)
"""No foreign key: at 10^7 rows and more its check would cost as much as the row, and a partition
could not be added without locking all jobs. `db.deletion` deletes these rows."""

site_result = Table(
    "site_result",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("f0", Double, nullable=False),
    Column("f1", Double, nullable=False),
    Column("residual", Double, nullable=False),
    Column("points", SmallInteger, nullable=False),
    Column("converged", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

edge = Table(
    "edge",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("rank", SmallInteger, primary_key=True),
    Column("site", SmallInteger, nullable=False),
    Column("head", SmallInteger, nullable=False),
    Column("query", SmallInteger, nullable=False),
    Column("key", SmallInteger, nullable=False),
    Column("query_token", Text),
    Column("key_token", Text),
    Column("attribution", REAL, nullable=False),
    Column("attention", REAL, nullable=False),
    sqlite_with_rowid=False,
)

shard_sum = Table(
    "shard_sum",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("shard_no", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("head", SmallInteger, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("score_sum", Double, nullable=False),
    Column("score_squares", Double, nullable=False),
    Column("total_sum", Double, nullable=False),
    Column("absolute_total_sum", Double, nullable=False),
    Column("attention_max_sum", Double, nullable=False),
    Column("attention_mean_sum", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""The sums of a block, which `shard_no` is the first example of; of a shard in jobs without blocks.
What one block gives is always the same, and the sum of blocks is rounded once (`jobs.merge`)."""

importance = Table(
    "importance",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("head", SmallInteger, primary_key=True),
    Column("rank", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("mean", Double, nullable=False),
    Column("std", Double),
    Column("low", Double),
    Column("high", Double),
    Column("mean_total", Double, nullable=False),
    Column("mean_absolute_total", Double, nullable=False),
    Column("mean_attention_max", Double, nullable=False),
    Column("mean_attention_mean", Double, nullable=False),
)

site_summary = Table(
    "site_summary",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("n", Integer, nullable=False),
    *(
        Column(name, Double, nullable=False)
        for name in ("converged", "points", "change", "median", "p95", "worst")
    ),
)
"""With the next four: the digest of a finished attribution job, see `db.digest`."""

confusion = Table(
    "confusion",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("gold", SmallInteger, primary_key=True),
    Column("predicted", SmallInteger, primary_key=True),
    Column("n", Integer, nullable=False),
)

strongest = Table(
    "strongest",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("head", SmallInteger, primary_key=True),
    Column("rank", SmallInteger, primary_key=True),
    Column("example_no", Integer, nullable=False),
)

score_sample = Table(
    "score_sample",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("sites", SmallInteger, nullable=False),
    Column("heads", SmallInteger, nullable=False),
    Column("examples", LargeBinary, nullable=False),
    Column("scores", LargeBinary, nullable=False),
)

shard_top = Table(
    "shard_top",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("shard_no", Integer, primary_key=True),
    Column("examples", LargeBinary, nullable=False),
    Column("scores", LargeBinary, nullable=False),
)
"""A shard's strongest examples of each head, int32 and float32 [k, sites, heads]; deleted when the
job ends."""

published = Table(
    "published",
    metadata,
    Column("views_hash", Text, primary_key=True),
    Column("oldest_code", Text),
)
"""One row: which version of the published views the database has, and the oldest revision whose
code works on the schema."""
