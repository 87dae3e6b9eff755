"""Steps of workers and the scheduler on the queue, and what must hold after them."""

from __future__ import annotations

import itertools
from typing import Any

from db.database import Database
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.ask import ANYTHING, Ask, WorkerIdentity
from db.queue.claims import Claim
from db.queue.planning import Plan
from db.results import commit
from jobs.outcome import Completed
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import (
    ALICE,
    completed,
    importance_of,
    job_values,
    result_of,
)

LEASE = 60.0
SHAPE = ("attribution", 2, 3)
"""The kind, layers and heads of a made-up job."""


def blocked_job(database: Database, examples: int, block: int, **changes: Any) -> int:
    """A running job of one ready range, in blocks."""
    values = job_values(examples=examples, **changes)
    texts = [(n, f"text {n}", f"second {n}", f"hash {n}", n % 2) for n in range(examples)]
    job = new_jobs.create_job(database, values, texts)
    planning.take_plans(database)
    bounds = [(0, examples)]
    assert planning.write_plan(
        database, job, Plan(bounds=bounds, fingerprint="fingerprint", block=block)
    )
    return job


def at_pace(pace: float, **changes: Any) -> Ask:
    """Ten seconds of work for a worker that takes so many per example."""
    return Ask(seconds=10.0, paces={SHAPE: pace}, **changes)


def claim(database: Database, ask: Ask = ANYTHING, who: WorkerIdentity = ALICE) -> Claim:
    """Claim a shard, which must be there."""
    held = claims.claim(database, who, LEASE, ask)
    assert held is not None
    return held


def compute(held: Claim, count: int | None = None, kind: str = "attribution") -> Completed:
    """The first `count` examples of a lease, block by block."""
    made = importance_of if kind == "importance" else result_of
    hi = held.hi if count is None else held.lo + count
    cuts = [*list(range(held.lo, hi, held.block or hi - held.lo)), hi]
    parts = tuple(made(lo, end) for lo, end in itertools.pairwise(cuts))
    return Completed(parts=parts, seconds=0.5)


def finish_all(database: Database) -> None:
    """Compute everything that is ready, and end the jobs."""
    while held := claims.claim(database, ALICE, LEASE):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    finish(database)


def finish(database: Database) -> None:
    """End the jobs whose shards are final."""
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)


def expire_now(database: Database) -> list[claims.Claim]:
    """Let every lease end now."""
    execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    return lifecycle.expire_leases(database)


def shards(database: Database) -> list[Any]:
    """Read number, range and state of all shards in their order."""
    return rows(database, "SELECT shard_no, lo, hi, state FROM shard ORDER BY lo")


def check_whole(database: Database) -> None:
    """Shards cover the job once, fences are attempts, every example has one result."""
    for job, examples in rows(database, "SELECT id, examples FROM job"):
        own = rows(database, f"SELECT lo, hi FROM shard WHERE job_id = {job} ORDER BY lo")
        assert own[0][0] == 0
        assert own[-1][1] == examples
        assert all(one[1] == other[0] for one, other in itertools.pairwise(own))
    ((fences,),) = rows(database, "SELECT SUM(fence) FROM shard")
    assert rows(database, "SELECT COUNT(*) FROM attempt") == [(fences,)]
    wrong = """SELECT COUNT(*) FROM example_result r LEFT JOIN shard s ON s.job_id = r.job_id
        AND r.example_no >= s.lo AND r.example_no < s.hi AND s.state = 'done' AND s.fence = r.fence
        WHERE s.job_id IS NULL"""
    assert rows(database, wrong) == [(0,)]
