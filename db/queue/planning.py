"""Planning: a queued job gets its examples, its shards and what its kind computes from both.

Any number of schedulers may plan the same job: the first one to write its plan wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from db import schema
from db.database import Database
from db.kinds import KINDS
from db.kinds.base import KindPlan
from db.queue.examples import ExampleRow, insert_examples, read_examples
from db.queue.sql import (
    PLAN_LATER,
    PLAN_TRIES,
    PLANNED,
    PLANNING_FAILED,
    TO_PLAN,
    WAITS_FROM_NOW,
)
from db.results import partitions
from db.results.job_results import add_rows
from db.transaction import Transaction
from jobs.states import MAX_PLAN_TRIES, ShardState, plan_backoff_seconds

NOTHING = KindPlan()


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """A job to be planned."""

    job_id: int
    kind: str
    spec: str
    queue: str
    labels: str
    layers: int
    heads: int
    examples: int
    """0 if its data is loaded now (datasets of the hub)."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The shards of a job, and what is stored with them."""

    bounds: Sequence[tuple[int, int]]
    """[lo, hi) of every shard, in order."""
    block: int = 0
    """Examples that are computed together: workers take parts of shards, of whole blocks. Without
    blocks (0) they take shards as they are."""
    examples: Sequence[ExampleRow] | None = None
    """The examples, if they were loaded now."""
    fingerprint: str | None = None
    """The fingerprint of that data."""
    understood: str | None = None
    """The reading of that data: JSON of `jobs.inputs.data.understood.Understood`."""
    own: KindPlan = NOTHING
    """The part of the job's kind."""

    @property
    def count(self) -> int:
        """Number of examples."""
        return self.bounds[-1][1]


def take_plans(database: Database) -> list[PlanRequest]:
    """Move queued jobs to planning and return all jobs in that state."""
    j = schema.job.c
    columns = (j.id.label("job_id"), j.kind, j.spec, j.queue, j.labels, j.layers, j.heads)
    with database.write() as tx:
        ids = list(tx.run(TO_PLAN).scalars())
        if not ids:
            return []
        query = select(*columns, j.examples).where(j.id.in_(ids)).order_by(j.id)
        return [PlanRequest(**row._mapping) for row in tx.execute(query)]


def plan_kind(
    database: Database, request: PlanRequest, spec: Any, loaded: Sequence[ExampleRow] | None
) -> KindPlan:
    """Return what the job's kind plans besides shards. Raises InputError if that is impossible."""
    with database.read() as tx:
        examples = read_examples(tx, request.job_id) if loaded is None else loaded
        return KINDS[request.kind].plan(tx, request.job_id, spec, examples)


def write_plan(database: Database, job_id: int, plan: Plan) -> bool:
    """Write a job's plan and let the job run.

    Returns False, and writes nothing, if another planner was faster or the job was cancelled.
    """
    j = schema.job.c
    query = select(j.kind, j.layers, j.heads, j.data_fingerprint).where(j.id == job_id)
    with database.write() as tx:
        job = tx.execute(query).one_or_none()
        if job is None or not _mark_planned(tx, job_id, plan, job.data_fingerprint):
            return False
        _write_examples(tx, job_id, plan)
        add_rows(tx, job_id, plan.own.rows)
        _write_shards(tx, job_id, plan)
        tx.run(WAITS_FROM_NOW, job_id=job_id)
        per_example = plan.own.rows_per_example or job.layers * job.heads
        largest = plan.count * per_example
        if largest >= partitions.LARGE_JOB_ROWS:
            large = KINDS[job.kind].large
            partitions.add(tx, job_id, large, examples=plan.count, largest=largest)
    return True


def _mark_planned(tx: Transaction, job_id: int, plan: Plan, fingerprint: str | None) -> bool:
    planned = tx.run(
        PLANNED,
        job_id=job_id,
        examples=plan.count,
        fingerprint=plan.fingerprint or fingerprint,
        understood=plan.understood,
        cost=plan.own.cost,
        block=plan.block,
    )
    return planned.rowcount == 1


def _write_examples(tx: Transaction, job_id: int, plan: Plan) -> None:
    examples = plan.examples
    if plan.own.examples is not None:
        tx.execute(delete(schema.example).where(schema.example.c.job_id == job_id))
        examples = plan.own.examples
    if examples is not None:
        insert_examples(tx, job_id, examples)


def _write_shards(tx: Transaction, job_id: int, plan: Plan) -> None:
    rows = [
        {
            "job_id": job_id,
            "shard_no": lo if plan.block else number,
            "lo": lo,
            "hi": hi,
            "state": ShardState.READY.value,
        }
        for number, (lo, hi) in enumerate(plan.bounds)
    ]
    tx.execute(insert(schema.shard).values(available_at=tx.clock), rows)


def fail_plan(database: Database, job_id: int, message: str) -> None:
    """Fail a job that cannot be planned."""
    with database.write() as tx:
        tx.run(PLANNING_FAILED, job_id=job_id, error=message)


def plan_later(database: Database, job_id: int, message: str) -> float | None:
    """Postpone planning a job whose data cannot be loaded now.

    Returns the seconds until the next try, or None if this was the last one and the job has failed.
    """
    with database.write() as tx:
        tries = int(tx.run(PLAN_TRIES, job_id=job_id).scalar() or 0) + 1
        if tries >= MAX_PLAN_TRIES:
            error = f"{message.rstrip('.')}. Given up after {tries} tries."
            tx.run(PLANNING_FAILED, job_id=job_id, error=error)
            return None
        backoff = plan_backoff_seconds(tries)
        tx.run(PLAN_LATER, job_id=job_id, tries=tries, backoff=backoff, error=message)
    return backoff
