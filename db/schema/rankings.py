"""The tables of rankings of heads."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

ranking_sum = Table(
    "ranking_sum",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("shard_no", Integer, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("total", LargeBinary, nullable=False),
    Column("squares", LargeBinary, nullable=False),
    Column("weights", LargeBinary, nullable=False),
    Column("replicates", LargeBinary, nullable=False),
    info=kept(Lifetime.RUN, many_rows=True),
)
"""A shard's sums for the rankings, as little-endian float64 arrays: exact sums in parts
(`headwise.stats.exact`) total and squares [P, S, H], and weights [B] and replicates [P, B, S, H] of
the bootstrap."""

ranking = Table(
    "ranking",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("head", SmallInteger, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("mean", Double, nullable=False),
    Column("standard_error", Double),
    Column("rank", Integer, nullable=False),
    Column("rank_low", Integer),
    Column("rank_high", Integer),
    info=kept(Lifetime.JOB),
)

head_value = Table(
    "head_value",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("head", SmallInteger, primary_key=True),
    Column("value", REAL, nullable=False),
    sqlite_with_rowid=False,
    info=kept(Lifetime.DETAILS, many_rows=True),
)
