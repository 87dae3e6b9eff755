"""A finished attribution whose largest edges are made by hand, to mine triggers from."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import insert, update

from db import schema
from db.database import Database
from db.queue import new_jobs
from tests.helpers.jobs import job_values

TOKENS = ("[CLS]", "ice", "in", "flor", "##ida", "[SEP]", "floods", "iowa", "[SEP]")
# Per example: predicted, gold, and the cells (site, head, query, key, attribution) by rank.
EXAMPLES: list[tuple[int, int | None, list[tuple[int, int, int, int, float]]]] = [
    # The head of the largest cell has ranks 1 and 3; its third cell would be one too many.
    (1, 0, [(1, 2, 1, 4, 0.5), (0, 0, 6, 7, 0.4), (1, 2, 7, 0, 0.25), (1, 2, 2, 6, 0.2)]),
    # The same tokens; its second cell is less than a fifth of the first.
    (1, 1, [(0, 1, 4, 1, 0.75), (0, 1, 7, 3, 0.125), (0, 0, 2, 3, 0.0625)]),
    # The sum of both cells is below 0.02.
    (0, 0, [(0, 0, 1, 4, 0.0125), (0, 0, 4, 6, 0.005), (0, 2, 1, 1, 0.001)]),
    # No second cell of the head is stored, and more cells were than there is room for.
    (0, None, [(0, 0, 3, 7, 0.5), (1, 0, 4, 6, 0.4), (1, 0, 4, 7, 0.3), (1, 1, 4, 7, 0.2)]),
]


def attributed_job(database: Database, tokens: Any = TOKENS, edges: int = 4, **changes: Any) -> int:
    """A succeeded job with those examples."""
    rows = [(n, "text", "second", "", gold) for n, (_, gold, _) in enumerate(EXAMPLES)]
    job = new_jobs.create_job(database, job_values(examples=len(rows)), rows)
    stored = None if tokens is None else json.dumps(tokens)
    with database.write() as tx:
        tx.execute(
            update(schema.job)
            .where(schema.job.c.id == job)
            .values(**{"state": "succeeded", **changes})
        )
        for site in range(2):
            values = {"site": site, "layer": site, "kind": "encoder", "heads": 3, "name": "s"}
            tx.execute(insert(schema.site).values(job_id=job, **values))
        for number, (predicted, _, cells) in enumerate(EXAMPLES):
            values = {"fence": 1, "predicted": predicted, "tokens": stored, "truncated": False}
            place = {"job_id": job, "example_no": number}
            tx.execute(insert(schema.example_result).values(**place, **values))
            for rank, (at, head, query, key, value) in enumerate(cells[:edges], start=1):
                cell = {"site": at, "head": head, "query": query, "key": key}
                numbers = {"rank": rank, "attribution": value, "attention": 0.5}
                tx.execute(insert(schema.edge).values(**place, **cell, **numbers))
    return job
