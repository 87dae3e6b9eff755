"""Every statement of the queue, run on jobs and shards in every state, on every database."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from sqlalchemy import insert, text

from db import schema
from db.database import Database
from db.ops import deletion
from db.queue import sql
from db.transaction import Transaction
from jobs.states import JOB_TRANSITIONS, SHARD_TRANSITIONS, Control, JobState, ShardState
from tests.helpers.jobs import job_values

STATEMENTS: dict[str, str] = {
    **{name: value for name, value in vars(sql).items() if name.isupper() and name[0] != "_"},
    "DELETING": deletion.DELETING,
}
for _name in ("FINAL", "SHARES", "AGEING", "MOST_RANKED", "HELD", "ELAPSED", "COMPUTED"):
    del STATEMENTS[_name]  # parts of statements
for _name in ("LIMIT_LOCK", "HELD_BY_THE_DEAD", "HELD_BY_THE_SILENT"):
    del STATEMENTS[_name]  # locks of PostgreSQL

OPEN = (ShardState.READY, ShardState.LEASED)
FINAL = (ShardState.DONE, ShardState.FAILED, ShardState.CANCELLED)
UNFINISHED = set(JobState) - {"succeeded", "failed", "cancelled", "deleting"}
CANCELLING = {(state, "cancelling") for state in UNFINISHED - {"cancelling"}}

Transition = tuple[str | None, str]
"""Before and after; None for a new row."""

EXPECTED_JOBS: dict[str, set[Transition]] = {
    "TO_PLAN": {("queued", "planning")},
    "PLAN_LATER": {("planning", "queued")},
    "PLANNED": {("planning", "running"), ("planning", "paused")},
    "FAIL_CHILDREN": {("queued", "failed")},
    "PLANNING_FAILED": {("planning", "failed")},
    "TOO_LATE": {("queued", "failed"), ("planning", "failed")},
    "OVERDUE": {("running", "stopping"), ("paused", "stopping")},
    "COMPLETE": {(state, "finalizing") for state in ("running", "paused", "stopping")},
    "FINISHED": {("finalizing", "succeeded"), ("finalizing", "failed")},
    "CANCELLED": {("cancelling", "cancelled")},
    "PAUSE": {("running", "paused")},
    "RESUME": {("paused", "running")},
    "CANCEL": CANCELLING,
    "CANCEL_CHILDREN": CANCELLING,
    "DELETING": {(state, "deleting") for state in ("succeeded", "failed", "cancelled")},
}
"""The statements that change a job's state; no other may."""

EXPECTED_SHARDS: dict[str, set[Transition]] = {
    "LEASE": {("ready", "leased")},
    "CUT_OFF": {(None, "ready")},
    "DONE": {("leased", "done")},
    "RELEASE": {("leased", "ready"), ("leased", "cancelled")},
    "RETRY": {("leased", "ready"), ("leased", "failed")},
    "FAIL_READY": {("ready", "failed")},
    "CANCEL_READY": {("ready", "cancelled")},
}
"""The same for shards."""

VALUES: dict[str, Any] = {
    "priority": 0,
    "user_name": "ann",
    "claims": 0,
    **dict.fromkeys(
        (
            "block",
            "cost",
            "errors",
            "examples",
            "examples_failed",
            "heads",
            "hi",
            "layers",
            "limit",
        ),
        1,
    ),
    **dict.fromkeys(("losses", "pace", "seconds", "site", "tries"), 1),
    **dict.fromkeys(("again", "backoff", "grace", "lease", "patience", "still", "wait"), 1.0),
    **dict.fromkeys(("fence", "layer", "progress", "queue_limit", "user_limit"), 0),
    **dict.fromkeys(("attention_type", "device", "kind", "name", "outcome", "stage"), "x"),
    **dict.fromkeys(("queue", "worker"), "default"),
    "lo": 100,
    "queues": ("default",),
}
"""Values of parameters that choose neither a row nor a state; all others may be null."""

CHOICES: dict[str, tuple[object, ...]] = {
    "state": ("succeeded", "failed"),
    "failed": (False, True),
}
"""Parameters that tell a statement the state after it."""
KEYS = (("job_id", "shard_no"), ("job_id",), ())
"""Parameters that choose a row."""


def fill(tx: Transaction) -> None:
    """Insert jobs and shards in every state that a statement may depend on.

    Every job is past its deadline: with shards that are not final, with final ones only, and with
    a parent that failed.
    """
    tx.execute(insert(schema.job).values(job_values(state="failed", created_at=0.0)))
    (parent,) = tx.run("SELECT id FROM job").scalars()
    _add_shards(tx, parent, FINAL)
    variants = ((OPEN, False), (FINAL, False), (OPEN, True))
    for state, control, (shards, child) in product(JobState, Control, variants):
        values = job_values(state=state, control=control, created_at=0.0, deadline_at=1.0)
        job_id = tx.execute(insert(schema.job).values(values)).inserted_primary_key[0]
        _add_shards(tx, job_id, shards)
        if child:
            tx.execute(insert(schema.job_parent).values(job_id=job_id, parent_id=parent))


def _add_shards(tx: Transaction, job_id: int, shards: tuple[ShardState, ...]) -> None:
    places = [{"shard_no": n, "lo": n, "hi": n + 1, "state": s} for n, s in enumerate(shards)]
    tx.execute(insert(schema.shard).values(job_id=job_id, available_at=0.0), places)


def states(tx: Transaction) -> tuple[dict[Any, str], dict[Any, str]]:
    """The states of all jobs and shards."""
    jobs = {row.id: row.state for row in tx.run("SELECT id, state FROM job")}
    shards = tx.run("SELECT job_id, shard_no, state FROM shard")
    return jobs, {(row.job_id, row.shard_no): row.state for row in shards}


def observe(database: Database, statement: str) -> tuple[set[Transition], set[Transition]]:
    """The transitions of jobs and of shards that a statement makes, on any row."""
    parameters = set(text(statement).compile().params)
    told = [[(name, one) for one in CHOICES[name]] for name in CHOICES.keys() & parameters]
    names = next(key for key in KEYS if parameters.issuperset(key))
    values = {name: VALUES.get(name) for name in parameters - {*names, *CHOICES}}
    found: tuple[set[Transition], set[Transition]] = (set(), set())
    for chosen in product(*told):
        with database.read() as tx:  # rolled back at its end
            before = states(tx)
            for key in dict.fromkeys(shard[: len(names)] for shard in before[1]):
                tx.run(statement, **values, **dict(chosen), **dict(zip(names, key, strict=True)))
            for changes, old, new in zip(found, before, states(tx), strict=True):
                changes.update((old.get(k), one) for k, one in new.items() if old.get(k) != one)
    return found


def test_statements_make_the_expected_transitions_and_no_others(database: Database) -> None:
    with database.write() as tx:
        fill(tx)
    observed = {name: observe(database, statement) for name, statement in STATEMENTS.items()}
    assert {name: jobs for name, (jobs, _) in observed.items() if jobs} == EXPECTED_JOBS
    assert {name: shards for name, (_, shards) in observed.items() if shards} == EXPECTED_SHARDS


@pytest.mark.parametrize(
    ("expected", "table"),
    [(EXPECTED_JOBS, JOB_TRANSITIONS), (EXPECTED_SHARDS, SHARD_TRANSITIONS)],
    ids=["job", "shard"],
)
def test_together_they_are_the_defined_transitions(
    expected: dict[str, set[Transition]], table: dict[str, frozenset[str]]
) -> None:
    made = {change for changes in expected.values() for change in changes if change[0] is not None}
    assert made == {(before, after) for before, some in table.items() for after in some}
