"""The tables of results per example, and those of attribution jobs."""

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
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata, partial_index

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
    Column("word_index", Text),
    Column("token_spans", Text),
    Column("head_token_attribution", LargeBinary),
    *(
        partial_index(f"ix_example_result_{name}", "job_id", "example_no", where=condition)
        for name, condition in (("failed", "error IS NOT NULL"), ("truncated", "truncated"))
    ),
    info=kept(Lifetime.DETAILS, many_rows=True),
)
"""The indexes are for pages that list the few failed or truncated examples of a job."""


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
    info=kept(Lifetime.JOB),
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
    info=kept(Lifetime.DETAILS, many_rows=True),
)
"""There is no foreign key: from 10^7 rows on, checking it would cost as much as the row, and a
partition could not be added without locking all jobs. `db.ops.deletion` deletes these rows."""

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
    info=kept(Lifetime.DETAILS, many_rows=True),
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
    Column("query_word", Text),
    Column("key_word", Text),
    sqlite_with_rowid=False,
    info=kept(Lifetime.DETAILS, many_rows=True),
)

head_matrix = Table(
    "head_matrix",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("head", SmallInteger, primary_key=True),
    Column("computed_by", Integer, nullable=False),
    Column("attention", LargeBinary),
    Column("attribution", LargeBinary),
    ForeignKeyConstraint(["job_id"], ["job.id"], ondelete="CASCADE"),
    Index("ix_head_matrix_computed_by", "computed_by"),
    info=kept(Lifetime.DETAILS),
)
"""Few rows, since each is asked for by somebody; `computed_by` is the job that fills it, which may
be deleted afterwards. The bytes are those of `jobs.results.head_matrices`."""

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
    info=kept(Lifetime.JOB, many_rows=True),
)
"""The sums of a block, which `shard_no` numbers by its first example; in jobs without blocks, those
of a shard. A block's sums are always the same, and adding blocks rounds once
(`jobs.kinds.head_importance`)."""

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
    info=kept(Lifetime.JOB),
)
