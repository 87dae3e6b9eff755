"""The functions of a kind of job in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table

from db import schema
from db.queue.claims import Claim
from db.queue.examples import ExampleRow
from db.results.job_results import JobResults, TableRows
from db.transaction import Transaction
from jobs.scheduling.plan import Lease


@dataclass(frozen=True, kw_only=True)
class KindPlan:
    """The kind's part of a plan. It is computed before the transaction that writes the plan."""

    rows: TableRows = field(default_factory=dict)
    examples: Sequence[ExampleRow] | None = None
    """Examples that replace the job's."""
    cost: float | None = None
    """Work per example, if planning determines it."""
    rows_per_example: int | None = None
    """Rows per example in the kind's largest table, if there is not one per head."""


def _no_plan(
    tx: Transaction, _job_id: int, _spec: Any, _examples: Sequence[ExampleRow]
) -> KindPlan:
    return KindPlan()


def _no_inputs(tx: Transaction, _job_id: int) -> Any:
    return None


def _nothing_to_write(_lease: Lease, _result: Any, _keep_text: bool) -> None:
    pass


def _no_rows(tx: Transaction, _held: Claim, _prepared: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of job in the database. A function that takes `tx` runs in the caller's transaction,
    and while it writes others wait: on SQLite every writer of the database does."""

    finish: Callable[[Transaction, int], JobResults | None]
    """(tx, job): merge the shards' sums in shard order; reads only. None if nothing was
    computed."""
    prepare: Callable[[Lease, Any, bool], Any] = _nothing_to_write
    """(lease, result, keep_text): compute what `commit` writes, before its transaction. The fence
    of the lease may not be known yet."""
    commit: Callable[[Transaction, Claim, Any], None] = _no_rows
    """(tx, held, prepared): write a shard's rows."""
    plan: Callable[[Transaction, int, Any, Sequence[ExampleRow]], KindPlan] = _no_plan
    """(tx, job, spec, examples): plan a job whose parents have all succeeded; reads only. An
    InputError fails the job with its message."""
    inputs: Callable[[Transaction, int], Any] = _no_inputs
    """(tx, job): read what workers need of the plan, for any shard."""
    large: tuple[Table, ...] = (schema.example_result,)
    """Tables with many rows per example, in which a large job has partitions of its own."""
