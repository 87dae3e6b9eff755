"""The functions of a kind of job in the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table

from db import schema
from db.queue.claims import Claim
from db.queue.examples import ExampleRow
from db.transaction import Transaction
from jobs.scheduling.plan import Lease


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The kind's part of a plan. It is computed before the transaction that writes the plan."""

    rows: Mapping[Table, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows without their `job_id`, by table."""
    examples: Sequence[ExampleRow] | None = None
    """Examples that replace the job's."""
    cost: float | None = None
    """Work per example, if planning determines it."""
    rows_per_example: int | None = None
    """Rows per example in the kind's largest table, if there is not one per head."""


def _no_plan(
    tx: Transaction, _job_id: int, _spec: Any, _examples: Sequence[ExampleRow]
) -> Prepared:
    return Prepared()


def _no_inputs(tx: Transaction, _job_id: int) -> Any:
    return None


def _as_it_is(_lease: Lease, result: Any, _keep_text: bool) -> Any:
    return result


def _no_rows(tx: Transaction, _held: Claim, _prepared: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of job in the database. A function that takes `tx` runs in the caller's transaction,
    and while it writes others wait: on SQLite every writer of the database does."""

    finish: Callable[[Transaction, int], str | None]
    """(tx, job): merge the shards' sums in shard order, write the job's results in place of those
    of an interrupted finish, and return their hash; None if nothing was computed."""
    prepare: Callable[[Lease, Any, bool], Any] = _as_it_is
    """(lease, result, keep_text): compute what `commit` writes, before its transaction; by default
    that is the result itself. The fence of the lease may not be known yet."""
    commit: Callable[[Transaction, Claim, Any], None] = _no_rows
    """(tx, held, prepared): write a shard's rows."""
    plan: Callable[[Transaction, int, Any, Sequence[ExampleRow]], Prepared] = _no_plan
    """(tx, job, spec, examples): prepare a job whose parents have all succeeded; reads only. An
    InputError fails the job with its message."""
    inputs: Callable[[Transaction, int], Any] = _no_inputs
    """(tx, job): read what workers need of the plan, for any shard."""
    large: tuple[Table, ...] = (schema.example_result,)
    """Tables with many rows per example, in which a large job has partitions of its own."""
