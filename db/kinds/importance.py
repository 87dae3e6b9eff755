"""What an importance job stores: a value per example and head, and rankings at its end."""

from __future__ import annotations

import numpy as np

from db import schema
from db.queue.claims import Claim
from db.results import rankings
from db.results.bulk import insert_rows
from db.transaction import Transaction
from jobs.kinds.importance import ImportanceResult
from jobs.merge import ranking_hash


def commit(tx: Transaction, held: Claim, result: ImportanceResult, _keep_text: bool) -> None:
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


def finish(tx: Transaction, job_id: int) -> str | None:
    """Merge the sums into rankings; returns their hash, None where nothing was computed."""
    heads = rankings.merge(tx, job_id)
    rankings.write(tx, job_id, heads)
    return ranking_hash(heads) if heads else None
