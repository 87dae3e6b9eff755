"""The tables of attack jobs."""

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
    info=kept(Lifetime.JOB),
)
"""The triggers of an attack job. `parts` is a JSON list of [token, segment, position, word], empty
for an attention control until the first shard is done: finding it takes a model."""

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
    info=kept(Lifetime.JOB),
)
"""The examples that a trigger was mined from, strongest first. Neither the trigger nor its controls
are inserted into these."""

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
    info=kept(Lifetime.JOB, many_rows=True),
)
"""The counts of a shard. `after` is a JSON list: flipped examples by the class that they become."""

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
    info=kept(Lifetime.JOB),
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
    info=kept(Lifetime.DETAILS, many_rows=True),
)
