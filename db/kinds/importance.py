"""The data of importance jobs: a value per example and head; rankings at the end."""

from __future__ import annotations

import numpy as np

from db import schema
from db.kinds.base import Kind
from db.queue.claims import Claim
from db.results import rankings
from db.results.bulk import insert_rows
from db.transaction import Transaction
from jobs.kinds.importance import ImportanceResult


def commit(tx: Transaction, held: Claim, result: ImportanceResult) -> None:
    """Write a shard's values."""
    numbers = held.lo + np.flatnonzero(result.ok)
    names = [column.name for column in schema.head_value.columns]
    for source, values in result.values.items():
        good = np.asarray(values)[result.ok]
        places = np.argwhere(np.isfinite(good))
        rows = (
            (held.job_id, source, int(numbers[example]), site, head, value)
            for (example, site, head), value in zip(
                places.tolist(), good[tuple(places.T)].tolist(), strict=True
            )
        )
        insert_rows(tx, schema.head_value, held.job_id, names, rows)


KIND = Kind(commit=commit, finish=rankings.finish, large=(schema.head_value, schema.example_result))
