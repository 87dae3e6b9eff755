"""The tables of rankings, importance, pruning and attack jobs; `db.tables` has them too."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)

from db.metadata import metadata

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
)
"""What a shard adds to the rankings: little-endian float64 arrays; sums in parts (`stats.exact`),
total and squares [P, S, H], weights [B] and replicates [P, B, S, H] of the bootstrap. Deleted when
the job ends."""

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
)

mask = Table(
    "mask",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("mask_no", Integer, primary_key=True),
    Column("removed", Integer, nullable=False),
    Column("heads", Text, nullable=False),
)
"""A pruning job's distinct sets of removed heads: a JSON list of [site, head]."""

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
)
"""The points of a pruning job's curves; several may have the same mask."""

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
)
"""What a shard's examples with even (half 0) and odd numbers add up to; confusion is a JSON list of
[gold, predicted, examples]. Deleted when the job ends."""

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
)
"""One row per pruning job: the examples that were given, those of them that the heads were ranked
with, and the choice: accuracy of the whole model and of the chosen mask on both halves."""

attack_trigger = Table(
    "attack_trigger",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("trigger_no", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("label", SmallInteger),
    Column("parts", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("support", Integer),
    Column("strength", Double),
    Column("origin_job", Integer),
    Column("origin_example", Integer),
    Column("control_of", Integer),
)
"""The triggers of an attack job; parts is a JSON list of [token, segment, position, word], empty
for an attention control until the first shard is done: only a model can tell it."""

trigger_source = Table(
    "trigger_source",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("trigger_no", Integer, primary_key=True),
    Column("source_no", Integer, primary_key=True),
    Column("origin_job", Integer, nullable=False),
    Column("origin_example", Integer, nullable=False),
    Column("score", Double, nullable=False),
    Column("cells", Text, nullable=False),
    Column("positions", Text, nullable=False),
)
"""The examples that a mined trigger was found in, the strongest first. It is put into none of them,
nor are its controls."""

trigger_sum = Table(
    "trigger_sum",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("shard_no", Integer, primary_key=True),
    Column("trigger_no", Integer, primary_key=True),
    Column("model_no", SmallInteger, primary_key=True),
    Column("gold", SmallInteger, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("before_correct", BigInteger, nullable=False),
    Column("after_correct", BigInteger, nullable=False),
    Column("flipped", BigInteger, nullable=False),
    Column("after", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""What a shard counts; after is a JSON list: the flipped ones by the class that they become."""

trigger_result = Table(
    "trigger_result",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("trigger_no", Integer, primary_key=True),
    Column("model_no", SmallInteger, primary_key=True),
    Column("gold", SmallInteger, primary_key=True),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("n", "before_correct", "after_correct", "flipped")
    ),
    Column("after", Text, nullable=False),
    *(
        Column(rate + end, Double)
        for rate in ("accuracy_before", "accuracy_after", "success")
        for end in ("", "_low", "_high")
    ),
    Column("rank", Integer, nullable=False),
)

trigger_outcome = Table(
    "trigger_outcome",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("trigger_no", Integer, primary_key=True),
    Column("model_no", SmallInteger, primary_key=True),
    Column("example_no", Integer, primary_key=True),
    Column("predicted", SmallInteger, nullable=False),
    Column("probabilities", Text, nullable=False),
    sqlite_with_rowid=False,
)
