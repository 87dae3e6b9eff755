"""What the database does differently for each kind of job: one entry per kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table

from db import schema
from db.kinds import attack, attribution, importance, pruning
from db.kinds.prepared import Prepared
from db.queue.claims import Claim
from db.queue.examples import ExampleRow
from db.transaction import Transaction


def _no_plan(
    tx: Transaction, _job_id: int, _spec: Any, _examples: Sequence[ExampleRow]
) -> Prepared:
    return Prepared()


def _no_inputs(tx: Transaction, _job_id: int) -> Any:
    return None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of job. Every function runs in the caller's transaction."""

    commit: Callable[[Transaction, Claim, Any, bool], None]
    """(tx, held, result, keep_text): write a shard's rows."""
    finish: Callable[[Transaction, int], str | None]
    """(tx, job): merge the shards' sums in shard order, write the job's results in place of
    what an interrupted finish left, and return their hash; None where nothing was computed."""
    plan: Callable[[Transaction, int, Any, Sequence[ExampleRow]], Prepared] = _no_plan
    """(tx, job, spec, examples): what it needs besides examples; reads only. All parents
    have succeeded. Raises InputError: the job then fails with its message."""
    inputs: Callable[[Transaction, int], Any] = _no_inputs
    """(tx, job): what a worker needs of the plan for any shard."""
    large: tuple[Table, ...] = ()
    """Its tables with many rows per example: a large job has partitions of its own in them."""


KINDS: dict[str, Kind] = {
    "attribution": Kind(
        commit=attribution.commit,
        finish=attribution.finish,
        large=(schema.head_score, schema.site_result, schema.edge, schema.example_result),
    ),
    "importance": Kind(
        commit=importance.commit,
        finish=importance.finish,
        large=(schema.head_value, schema.example_result),
    ),
    "pruning": Kind(
        plan=pruning.plan, inputs=pruning.inputs, commit=pruning.commit, finish=pruning.finish
    ),
    "attack": Kind(
        plan=attack.plan,
        inputs=attack.inputs,
        commit=attack.commit,
        finish=attack.finish,
        large=(schema.trigger_outcome, schema.example_result),
    ),
}
