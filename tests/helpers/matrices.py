"""Matrices of a head, made up, as the commit of a quick job stores them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sqlalchemy import insert

from db import schema
from db.database import Database
from db.queue import claims
from db.queue.claims import Claim
from db.reads import results
from db.results import commit
from jobs.outcome import Completed
from jobs.results.head_matrices import HeadMatrix, pack
from tests.helpers.jobs import ALICE, result_of

TOKENS = 4


def matrix_of(site: int, head: int, n: int = TOKENS) -> HeadMatrix:
    """Numbers that depend on the head; the largest attribution is in row 2."""
    draw = np.random.default_rng((site, head))
    attention = draw.random((n, n), dtype=np.float32)
    attention /= attention.sum(1, keepdims=True)
    attribution = (attention * draw.uniform(-0.1, 0.2, (n, n))).astype(np.float32)
    attribution[2, 1] = 0.5
    return HeadMatrix(site=site, head=head, attention=attention, attribution=attribution)


def store(database: Database, site: int, heads: range) -> Claim:
    """Claim the quick job that was planned, and commit its matrices."""
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit_matrices(database, held, site, heads)
    return held


def commit_matrices(database: Database, held: Claim, site: int, heads: range) -> bool:
    """Commit made-up matrices as the holder of a lease; False if it is lost."""
    found = tuple(matrix_of(site, head) for head in heads)
    result = replace(result_of(held.lo, held.hi), matrices=(found,))
    return commit.commit_shard(database, held, Completed(parts=(result,), seconds=0.5), "model")


def seed_matrix(database: Database, job: int, example: int, site: int, head: int) -> None:
    """Store a made-up matrix with an example, as if a quick job had computed it."""
    n = len(results.get_example(database, job, example).tokens or ())
    found = matrix_of(site, head, n)
    values = {
        "job_id": job,
        "example_no": example,
        "site": site,
        "head": head,
        "computed_by": job,
        "attention": pack(found.attention),
        "attribution": pack(found.attribution),
    }
    with database.write() as tx:
        tx.execute(insert(schema.head_matrix).values(values))
