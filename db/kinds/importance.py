"""The data of importance jobs: a value per example and head; rankings at the end."""

from __future__ import annotations

import numpy as np

from db import schema
from db.kinds.base import Kind
from db.queue.claims import Claim
from db.results import rankings
from db.results.bulk import Columns, insert_columns
from db.transaction import Transaction
from jobs.kinds.importance import ImportanceResult
from jobs.scheduling.plan import Lease


def prepare(lease: Lease, result: ImportanceResult, _keep_text: bool) -> list[Columns]:
    """Compute the rows of a shard's values, by source."""
    numbers = lease.lo + np.flatnonzero(result.ok)
    found: list[Columns] = []
    for source, values in result.values.items():
        good = np.asarray(values)[result.ok]
        example, site, head = np.nonzero(np.isfinite(good))
        columns: Columns = {
            "job_id": np.full(example.shape, lease.job_id),
            "source": [source] * len(example),
            "example_no": numbers[example],
            "site": site,
            "head": head,
            "value": good[example, site, head],
        }
        found.append(columns)
    return found


def commit(tx: Transaction, held: Claim, rows: list[Columns]) -> None:
    """Write a shard's values."""
    for columns in rows:
        insert_columns(tx, schema.head_value, held.job_id, columns)


KIND = Kind(
    prepare=prepare,
    commit=commit,
    finish=rankings.finish,
    large=(schema.head_value, schema.example_result),
)
