"""The tables of the digest of a finished attribution job, see `db.results.digest`."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

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
    info=kept(Lifetime.JOB),
)
confusion = Table(
    "confusion",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("gold", SmallInteger, primary_key=True),
    Column("predicted", SmallInteger, primary_key=True),
    Column("n", Integer, nullable=False),
    info=kept(Lifetime.JOB),
)

strongest = Table(
    "strongest",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("site", SmallInteger, primary_key=True),
    Column("head", SmallInteger, primary_key=True),
    Column("rank", SmallInteger, primary_key=True),
    Column("example_no", Integer, nullable=False),
    info=kept(Lifetime.DETAILS),
)

score_sample = Table(
    "score_sample",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("sites", SmallInteger, nullable=False),
    Column("heads", SmallInteger, nullable=False),
    Column("examples", LargeBinary, nullable=False),
    Column("scores", LargeBinary, nullable=False),
    info=kept(Lifetime.DETAILS),
)

shard_top = Table(
    "shard_top",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("shard_no", Integer, primary_key=True),
    Column("examples", LargeBinary, nullable=False),
    Column("scores", LargeBinary, nullable=False),
    info=kept(Lifetime.RUN, many_rows=True),
)
"""A shard's strongest examples of each head, int32 and float32 [k, sites, heads]."""
