"""An attack job with made-up predictions, on triggers mined from edges made by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from sqlalchemy import update

from db import schema
from db.database import Database
from db.kinds.attack import PlannedTrigger
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.planning import Plan
from db.results import commit
from headwise.stats.attack import AttackSums
from jobs.kinds.attack import AttackResult, AttackSpec, ModelOutcome
from jobs.kinds.triggers import TriggerToken
from jobs.outcome import Completed
from jobs.results.base import ExampleResult, SiteInfo
from jobs.specs.submission import canonical_json, parse_spec
from tests.helpers.jobs import ALICE, job_values
from tests.helpers.trigger_jobs import attributed_job

EXAMPLES = 8
FOUND = (TriggerToken("in", 0, 0.5, "in"),)


def source_job(database: Database) -> int:
    """A finished attribution of four texts with hashes of their own; three give triggers."""
    job = attributed_job(database)
    with database.write() as tx:
        changed = "UPDATE example SET text_hash = 'hash ' || example_no WHERE job_id = :job"
        tx.run(changed, job=job)
    return job


def attack_spec(source: int | None, **changes: Any) -> AttackSpec:
    """A specification; `changes` are merged into it."""
    raw = {
        "kind": "attack",
        "model": {"name": "/models/tiny"},
        "data": {"path": "/x.jsonl", "text_columns": ["a", "b"], "label_column": "label"},
        **({} if source is None else {"triggers_from": source}),
        **changes,
    }
    spec = parse_spec(raw)
    assert isinstance(spec, AttackSpec)
    return spec


def planned_attack(database: Database, spec: AttackSpec, size: int = 3) -> int:
    """A running attack job; its examples 0 to 3 are the texts that triggers are mined from."""
    values = job_values(
        kind="attack",
        examples=EXAMPLES,
        spec=canonical_json(spec),
        labels='["no", "yes"]',
        name="an attack",
    )
    rows = [(n, f"text {n}", f"second {n}", f"hash {n}", n % 2) for n in range(EXAMPLES)]
    job = new_jobs.create_job(database, values, rows)
    request = next(one for one in planning.take_plans(database) if one.job_id == job)
    own = planning.plan_kind(database, request, spec, None)
    bounds = [(lo, min(lo + size, EXAMPLES)) for lo in range(0, EXAMPLES, size)]
    assert planning.write_plan(
        database, job, Plan(bounds=bounds, fingerprint="fingerprint", own=own)
    )
    return job


def made_up(
    lo: int, hi: int, planned: list[PlannedTrigger], spec: AttackSpec, gold: list[int | None]
) -> AttackResult:
    """Every text is predicted right, but for number 5; mined triggers turn every second text."""
    found = {t.number: FOUND for t in planned if t.kind == "attention" and not t.tokens}
    numbers = np.arange(lo, hi)
    right = np.where(numbers == 5, 1 - numbers % 2, numbers % 2)
    models = []
    for model in range(1 + len(spec.models)):
        after = np.tile(right, (len(planned), 1))
        for row, trigger in enumerate(planned):
            if trigger.kind in ("mined", "given"):
                turned = (numbers + trigger.number + model) % 3 == 0
                after[row, turned] = 1 - right[turned]
            after[row, [n in trigger.skipped for n in numbers]] = -1
        labels = np.array([-1 if label is None else label for label in gold])
        models.append(
            ModelOutcome(
                after=after,
                probabilities=np.eye(2)[np.maximum(after, 0)] * 0.5 + 0.25,
                sums=AttackSums.of(labels, right, after, 2),
            )
        )
    return AttackResult(
        sites=(SiteInfo(layer=0, attention_type="encoder", heads=3, name="layer.0"),),
        examples=tuple(
            ExampleResult(predicted=int(label), probabilities=(0.25, 0.75)) for label in right
        ),
        triggers=tuple(t.number for t in planned),
        attention=found,
        models=tuple(models),
        keep_outcomes=spec.outcomes,
    )


def commit_shards(database: Database, spec: AttackSpec, most: int = 100) -> None:
    """Alice computes the shards that are ready."""
    for _ in range(most):
        held = claims.claim(database, ALICE, 60)
        if held is None:
            return
        shard = commit.read_shard(database, held)
        result = made_up(held.lo, held.hi, shard.planned, spec, shard.gold)
        assert commit.commit_shard(database, held, Completed(parts=(result,), seconds=0.5), "model")


def finished_attack(database: Database, spec: AttackSpec, size: int = 3) -> int:
    """A succeeded attack job."""
    job = planned_attack(database, spec, size)
    commit_shards(database, spec)
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database) == [job]
    return job


def rename_labels(database: Database, job: int, labels: tuple[str, ...]) -> None:
    """Give a job's model other labels."""
    with database.write() as tx:
        own = schema.job.c.id == job
        tx.execute(update(schema.job).where(own).values(labels=json.dumps(labels)))
