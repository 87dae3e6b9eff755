"""Made-up jobs and results for tests of the store: small, and different for every example."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from db.database import Database
from db.queue import new_jobs, planning
from db.queue.ask import WorkerIdentity
from db.queue.planning import Plan
from jobs.kinds.attribution import AttributionResult
from jobs.kinds.importance import ImportanceResult
from jobs.outcome import Completed
from jobs.results.base import ExampleResult, SiteInfo

ALICE = WorkerIdentity(
    name="alice",
    host="h",
    pid=1,
    queue="default",
    device="cpu",
    versions='{"headwise": "0.1.0"}',
)
BOB = WorkerIdentity(name="bob", host="h", pid=2, queue="default", device="cpu", versions="{}")
SITES, HEADS, EDGES = 2, 3, 4


def job_values(**changes: Any) -> dict[str, Any]:
    """Column values of a new job."""
    return {
        "kind": "attribution",
        "name": "test",
        "spec": json.dumps({"keep_text": True}),
        "spec_hash": "s",
        "user_name": "tester",
        "priority": 0,
        "queue": "default",
        "state": "queued",
        "control": "run",
        "dedupe_key": None,
        "idempotency_key": None,
        "labels": '["no", "yes"]',
        "layers": SITES,
        "heads": HEADS,
        "examples": 6,
        **changes,
    }


def planned_job(database: Database, examples: int = 6, size: int = 2, **changes: Any) -> int:
    """A running job cut into shards of `size` examples."""
    values = job_values(examples=examples, **changes)
    rows = [(n, f"text {n}", f"second {n}", f"hash {n}", n % 2) for n in range(examples)]
    job_id = new_jobs.create_job(database, values, rows)
    planning.take_plans(database)
    bounds = [(lo, min(lo + size, examples)) for lo in range(0, examples, size)]
    assert planning.write_plan(database, job_id, Plan(bounds=bounds, fingerprint="fingerprint"))
    return job_id


def result_of(lo: int, hi: int, failed: frozenset[int] = frozenset()) -> AttributionResult:
    """Results that depend on the example's number only, so that any shard plan gives the same."""
    count = hi - lo
    number = np.arange(lo, hi, dtype=np.float32)
    grid = np.arange(SITES * HEADS, dtype=np.float32).reshape(SITES, HEADS)
    score = np.sin(number)[:, None, None] * 0.1 + grid * 0.01
    bad = np.array([n in failed for n in range(lo, hi)])
    score[bad] = np.nan
    per_site = np.repeat(number[:, None], SITES, axis=1)
    cells = np.tile(np.arange(EDGES, dtype=np.int32), (count, 1))
    return AttributionResult(
        sites=tuple(
            SiteInfo(layer=n, attention_type="encoder", heads=HEADS, name=f"layer.{n}")
            for n in range(SITES)
        ),
        examples=tuple(
            ExampleResult(
                predicted=None if n in failed else n % 2,
                target=None if n in failed else n % 2,
                probabilities=() if n in failed else (0.25, 0.75),
                tokens=("[CLS]", "a", "b", "[SEP]"),
                token_attribution=json.dumps([[0.1, 0.2, 0.3, 0.4]] * SITES),
                truncated=n == 0,
                error="the output is not a number" if n in failed else None,
            )
            for n in range(lo, hi)
        ),
        score=score,
        total=score * 2,
        query=np.ones((count, SITES, HEADS), dtype=np.int32),
        key=np.full((count, SITES, HEADS), 2, dtype=np.int32),
        attention_max=np.abs(score) + 0.5,
        attention_mean=np.abs(score) + 0.25,
        f0=per_site,
        f1=per_site + 1,
        residual=per_site * 1e-6,
        points=np.full((count, SITES), 5, dtype=np.int32),
        converged=np.ones((count, SITES), dtype=bool),
        edge_site=cells % SITES,
        edge_head=cells % HEADS,
        edge_query=cells,
        edge_key=cells[:, ::-1],
        edge_value=cells.astype(np.float32) / 10,
        edge_attention=cells.astype(np.float32) / 20,
    )


def completed(lo: int, hi: int, failed: frozenset[int] = frozenset()) -> Completed:
    """A finished computation of those examples."""
    return Completed(parts=(result_of(lo, hi, failed),), seconds=0.5)


def importance_of(lo: int, hi: int, failed: frozenset[int] = frozenset()) -> ImportanceResult:
    """Leaving one head out, made up as `result_of`."""
    base = result_of(lo, hi, failed)
    bad = np.isnan(base.score)
    correct = np.where(bad, np.nan, np.sign(base.score - 0.05))
    return ImportanceResult(
        sites=base.sites,
        examples=tuple(ExampleResult(error=example.error) for example in base.examples),
        values={"leave-one-out-loss": base.score, "leave-one-out-accuracy": correct},
    )
