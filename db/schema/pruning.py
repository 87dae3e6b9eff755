"""The tables of pruning jobs."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    SmallInteger,
    Table,
    Text,
)

from db.schema.lifetimes import Lifetime, kept
from db.schema.metadata import metadata

mask = Table(
    "mask",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("mask_no", Integer, primary_key=True),
    Column("removed", Integer, nullable=False),
    Column("heads", Text, nullable=False),
    info=kept(Lifetime.JOB),
)
"""The distinct sets of removed heads of a pruning job; `heads` is a JSON list of [site, head]."""

curve_point = Table(
    "curve_point",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("point_no", Integer, primary_key=True),
    Column("source_no", SmallInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("draw", SmallInteger, nullable=False),
    Column("direction", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("share", Double, nullable=False),
    Column("removed", Integer, nullable=False),
    Column("mask_no", Integer, nullable=False),
    info=kept(Lifetime.JOB),
)
"""The points of a pruning job's curves; several may share a mask."""

mask_sum = Table(
    "mask_sum",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("shard_no", Integer, primary_key=True),
    Column("half", SmallInteger, primary_key=True),
    Column("mask_no", Integer, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("loss_sum", Double, nullable=False),
    Column("loss_squares", Double, nullable=False),
    Column("confusion", Text, nullable=False),
    sqlite_with_rowid=False,
    info=kept(Lifetime.RUN, many_rows=True),
)
"""The sums of a shard over its examples with even (half 0) and odd numbers. `confusion` is a JSON
list of [gold, predicted, examples]."""

mask_result = Table(
    "mask_result",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("mask_no", Integer, primary_key=True),
    Column("n", BigInteger, nullable=False),
    *(
        Column(measure + end, Double)
        for measure in ("accuracy", "macro_f1", "loss")
        for end in ("", "_low", "_high")
    ),
    info=kept(Lifetime.JOB),
)

pruning = Table(
    "pruning",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("given", Integer, nullable=False),
    Column("overlap", Integer, nullable=False),
    Column("chosen_mask", Integer),
    *(
        Column(f"{half}_{name}", BigInteger if name == "n" else Double)
        for half in ("search", "held_out")
        for name in ("n", "whole", "accuracy", "low", "high")
    ),
    Column("verified", Boolean),
    info=kept(Lifetime.JOB),
)
"""One row per pruning job: the number of given examples, how many of them the heads were ranked on,
and the choice: the accuracy of the whole model and of the chosen mask on both halves."""
