"""The data of attack jobs: triggers when planned, counts by shard, rates at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Table, select, update

from db import schema
from db.kinds.base import Kind, KindPlan
from db.kinds.triggers import mine
from db.queue.claims import Claim
from db.queue.examples import ExampleRow
from db.results.bulk import insert_rows
from db.results.job_results import JobResults
from db.transaction import Transaction
from jobs.errors import ConflictError, refuse
from jobs.inputs.models.configuration import label_order
from jobs.kinds.attack import (
    AttackResult,
    AttackSpec,
    TriggerKind,
    TriggerSums,
    attack_hash,
    given_triggers,
    merged,
    readable,
    shard_sums,
    trigger_results,
)
from jobs.kinds.triggers import Cell, Trigger, TriggerToken, random_controls
from jobs.scheduling.plan import Lease

SKIPPED = """
SELECT DISTINCT s.trigger_no, e.example_no FROM trigger_source s
JOIN example o ON o.job_id = s.origin_job AND o.example_no = s.origin_example
JOIN example e ON e.text_hash = o.text_hash AND e.job_id = s.job_id
WHERE s.job_id = :job_id
"""
"""Examples with the same text as one that a trigger was mined from."""

PLANNED = """
SELECT t.trigger_no, t.kind, t.parts, COALESCE(t.control_of, t.trigger_no) AS mined, e.text_a,
    e.text_b
FROM attack_trigger t
LEFT JOIN example e ON e.job_id = t.origin_job AND e.example_no = t.origin_example
WHERE t.job_id = :job_id ORDER BY t.trigger_no
"""

_RATES = ("accuracy_before", "accuracy_after", "success")


@dataclass(frozen=True, kw_only=True)
class PlannedTrigger:
    """A trigger as workers receive it."""

    number: int
    kind: TriggerKind
    mined: int
    """The trigger that it controls for, or its own number."""
    tokens: tuple[TriggerToken, ...]
    """Empty for an attention control that no shard has found yet."""
    origin: tuple[str, str | None] | None
    """The text or pair that it was mined from."""
    skipped: frozenset[int]
    """Examples that it is not inserted into, because it was mined from the same text."""


def plan(
    tx: Transaction, job_id: int, spec: AttackSpec, _examples: Sequence[ExampleRow]
) -> KindPlan:
    """Plan triggers: mined, given, and controls. Raises InputError if there are none."""
    mined: list[Trigger] = []
    rows: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []
    controls: list[dict[str, Any]] = []
    if spec.triggers_from is not None:
        mined, drawn = _mined(tx, spec)
        labels = _labels(tx, job_id, spec.triggers_from)
        rows += [_row(t, labels) for t in mined]
        sources = [row for number, trigger in enumerate(mined) for row in _sources(number, trigger)]
        for of, trigger in enumerate(mined):
            first = {"control_of": of, "strength": None, "support": None}
            if spec.controls.random and drawn[of].tokens:
                controls.append(
                    {**_row(drawn[of], labels), **first, "kind": TriggerKind.RANDOM.value}
                )
            if spec.controls.attention:
                unknown = {"kind": TriggerKind.ATTENTION.value, "parts": "[]", "text": ""}
                controls.append({**_row(trigger, labels), **first, **unknown})
    rows += [_given(tokens) for tokens in given_triggers(spec.given, spec.positions)]
    rows += sorted(controls, key=lambda row: str(row["kind"]), reverse=True)
    if not rows:
        message = "gives no trigger: no example passes the rule"
        raise refuse("triggers_from", spec.triggers_from, message, "Lower rule.threshold.")
    planned = [{"trigger_no": number, **row} for number, row in enumerate(rows)]
    return KindPlan(
        rows={schema.attack_trigger: planned, schema.trigger_source: sources},
        cost=spec.passes(len(rows) - len(spec.given)),
        rows_per_example=len(rows) * (1 + len(spec.models)) if spec.outcomes else 1,
    )


def inputs(tx: Transaction, job_id: int) -> list[PlannedTrigger]:
    """Read the triggers and the examples that each is not inserted into."""
    skipped: dict[int, set[int]] = {}
    for trigger, example in tx.run(SKIPPED, job_id=job_id):
        skipped.setdefault(trigger, set()).add(example)
    return [
        PlannedTrigger(
            number=row.trigger_no,
            kind=TriggerKind(row.kind),
            mined=row.mined,
            tokens=read_parts(row.parts),
            origin=None if row.text_a is None else (row.text_a, row.text_b),
            skipped=frozenset(skipped.get(row.mined, ())),
        )
        for row in tx.run(PLANNED, job_id=job_id)
    ]


@dataclass(frozen=True, kw_only=True)
class AttackRows:
    """An attack job's own rows of a shard."""

    controls: dict[int, dict[str, str]]
    """Columns of the attention controls that were found, by their numbers."""
    sums: list[tuple[Any, ...]]
    outcomes: list[tuple[Any, ...]]


def prepare(lease: Lease, result: AttackResult, _keep_text: bool) -> AttackRows:
    """Compute a shard's rows."""
    place = (lease.job_id, lease.shard_no)
    return AttackRows(
        controls={
            number: {"parts": _parts(tokens), "text": readable(tokens)}
            for number, tokens in result.attention.items()
        },
        sums=[(*place, *_counts(sums).values()) for sums in shard_sums(result)],
        outcomes=list(_outcomes(lease, result)),
    )


def commit(tx: Transaction, held: Claim, rows: AttackRows) -> None:
    """Write a shard's counts and outcomes; the first shard also stores the attention controls."""
    t = schema.attack_trigger
    for number, found in rows.controls.items():
        unknown = (t.c.job_id == held.job_id) & (t.c.trigger_no == number) & (t.c.parts == "[]")
        tx.execute(update(t).where(unknown).values(found))
    for table, those in ((schema.trigger_sum, rows.sums), (schema.trigger_outcome, rows.outcomes)):
        insert_rows(tx, table, held.job_id, [column.name for column in table.columns], those)


def finish(tx: Transaction, job_id: int) -> JobResults | None:
    """Merge the counts into rates; None if there are no predictions.

    The hash is that of triggers and counts.
    """
    e, t = schema.example_result.c, schema.attack_trigger.c
    good = select(e.example_no).where((e.job_id == job_id) & e.error.is_(None)).limit(1)
    if tx.execute(good).first() is None:
        return None
    query = select(t.trigger_no, t.kind, t.parts).where(t.job_id == job_id).order_by(t.trigger_no)
    triggers = [(row.trigger_no, row.kind, row.parts) for row in tx.execute(query)]
    sums = read_sums(tx, job_id)
    rows = [
        {
            **_counts(one.sums),
            **{
                rate + end: value
                for rate in _RATES
                for end, value in zip(("", "_low", "_high"), getattr(one, rate), strict=True)
            },
            "rank": one.rank,
        }
        for one in trigger_results(
            sums, {number: TriggerKind(kind) for number, kind, _ in triggers}
        )
    ]
    return JobResults(rows={schema.trigger_result: rows}, result_hash=attack_hash(triggers, sums))


def read_results(tx: Transaction, job_id: int) -> list[TriggerSums]:
    """Read the counts of a job: the final ones, or the sums of the shards done so far."""
    return _read(tx, schema.trigger_result, job_id) or read_sums(tx, job_id)


def read_sums(tx: Transaction, job_id: int) -> list[TriggerSums]:
    """Read the sums of the shards done so far."""
    return _read(tx, schema.trigger_sum, job_id)


def _read(tx: Transaction, table: Table, job_id: int) -> list[TriggerSums]:
    s = table.c
    columns = (s.trigger_no, s.model_no, s.gold, s.n, s.before_correct, s.after_correct, s.after)
    return merged(
        TriggerSums(
            trigger=row.trigger_no,
            model=row.model_no,
            gold=row.gold,
            n=row.n,
            before_correct=row.before_correct,
            after_correct=row.after_correct,
            flipped=tuple(json.loads(row.after)),
        )
        for row in tx.execute(select(*columns).where(s.job_id == job_id))
    )


def read_parts(stored: str) -> tuple[TriggerToken, ...]:
    """Decode a trigger's tokens from its `parts`."""
    return tuple(TriggerToken(*part) for part in json.loads(stored))


def _mined(tx: Transaction, spec: AttackSpec) -> tuple[list[Trigger], list[Trigger]]:
    """Mine the triggers, and draw a random control for each."""
    assert spec.triggers_from is not None
    try:
        mined = mine(tx, spec.triggers_from, spec.rule)
    except ConflictError as error:
        raise refuse("triggers_from", spec.triggers_from, str(error).rstrip(".")) from None
    return mined.triggers, random_controls(mined.triggers, mined.tokens, spec.controls.seed)


def _labels(tx: Transaction, job_id: int, origin: int) -> tuple[int, ...]:
    """Return this job's label index for each label of the attribution job."""
    j = schema.job.c
    rows = tx.execute(select(j.id, j.labels).where(j.id.in_((job_id, origin))))
    labels = {row.id: json.loads(row.labels) for row in rows}
    order = label_order(labels[job_id], labels[origin])
    if order is None:
        message = f"is on a model with other labels: {', '.join(labels[origin])}"
        remedy = f"This job's model has {', '.join(labels[job_id])}."
        raise refuse("triggers_from", origin, message, remedy)
    return order


def _row(trigger: Trigger, labels: Sequence[int]) -> dict[str, Any]:
    first = trigger.sources[0]
    return {
        "kind": TriggerKind.MINED.value,
        "label": labels[trigger.label],
        "parts": _parts(trigger.tokens),
        "text": readable(trigger.tokens),
        "support": trigger.support,
        "strength": trigger.max_score,
        "origin_job": first.job,
        "origin_example": first.example,
        "control_of": None,
    }


def _given(tokens: tuple[TriggerToken, ...]) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ("label", "support", "strength", "origin_job", "origin_example", "control_of")
    )
    return {
        "kind": TriggerKind.GIVEN.value,
        "parts": _parts(tokens),
        "text": readable(tokens),
        **nothing,
    }


def _sources(number: int, trigger: Trigger) -> Iterator[dict[str, Any]]:
    for place, source in enumerate(trigger.sources):
        yield {
            "trigger_no": number,
            "source_no": place,
            "origin_job": source.job,
            "origin_example": source.example,
            "score": source.score,
            "cells": json.dumps([_stored(cell) for cell in source.cells]),
            "positions": json.dumps(source.positions),
        }


def _stored(cell: Cell) -> dict[str, Any]:
    """The cell as published: its attention type keeps the key of the first version, `kind`."""
    return {"kind" if name == "attention_type" else name: v for name, v in asdict(cell).items()}


def _parts(tokens: Sequence[TriggerToken]) -> str:
    return json.dumps(tokens, ensure_ascii=False)


def _counts(sums: TriggerSums) -> Mapping[str, Any]:
    """Return the counts in the order of the tables' columns."""
    return {
        "trigger_no": sums.trigger,
        "model_no": sums.model,
        "gold": sums.gold,
        "n": sums.n,
        "before_correct": sums.before_correct,
        "after_correct": sums.after_correct,
        "flipped": sum(sums.flipped),
        "after": json.dumps(sums.flipped),
    }


def _outcomes(lease: Lease, result: AttackResult) -> Iterator[tuple[Any, ...]]:
    if not result.keep_outcomes:
        return
    for model, outcome in enumerate(result.models):
        for row, trigger in enumerate(result.triggers):
            predicted = outcome.after[row].tolist()
            for number, label in enumerate(predicted):
                if label >= 0:
                    shown = [float(f"{p:.5g}") for p in outcome.probabilities[row, number]]
                    place = (lease.job_id, trigger, model, lease.lo + number)
                    yield (*place, label, json.dumps(shown))


KIND = Kind(
    plan=plan,
    inputs=inputs,
    prepare=prepare,
    commit=commit,
    finish=finish,
    large=(schema.trigger_outcome, schema.example_result),
)
