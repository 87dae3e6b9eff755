"""From raw input to a job in the database: check everything first, then write once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from db import lifecycle, queries, store
from db.database import Database
from jobs.data import Rows, label_index, read_rows
from jobs.errors import InputError, Problem, refuse
from jobs.models import ModelFacts, model_facts
from jobs.plan import Estimate, estimate
from jobs.settings import Settings
from jobs.spec import AttributionSpec, Submission, canonical_json, parse_submission, spec_hash
from jobs.states import Control, JobState


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A submission that was found good, with everything that submitting it needs."""

    submission: Submission
    facts: ModelFacts
    rows: Rows | None
    """None for hub data, which the scheduler loads."""
    estimate: Estimate
    existing_job: int | None
    """An unfinished job that is the same work, or has the same idempotency key."""


def check(raw: object, settings: Settings, database: Database) -> Checked:
    """Check a submission against the model, the data and the settings; nothing is written.

    Raises InputError with every problem that was found.
    """
    if isinstance(raw, Mapping):
        raw = {"queue": settings.queue, **raw}
    submission = parse_submission(raw)
    spec = submission.spec
    problems: list[Problem] = []
    facts: ModelFacts | None = None
    rows: Rows | None = None
    try:
        facts = model_facts(spec.model, settings)
        _check_against_model(spec, facts)
    except InputError as error:
        problems += error.problems
    try:
        rows = None if spec.data.dataset else read_rows(spec.data, settings)
        if rows and facts:
            gold_labels(rows, facts.labels, spec)
    except InputError as error:
        problems += error.problems
    if problems or facts is None:
        raise InputError(problems)
    submission = _pinned(submission, facts)
    return Checked(
        submission=submission,
        facts=facts,
        rows=rows,
        estimate=_estimate(submission, facts, rows, settings, database),
        existing_job=store.find_job(database, _keys(submission, rows)),
    )


def submit(checked: Checked, database: Database) -> int:
    """Write the job, and return its number: the existing one's where it is the same work."""
    submission, facts, rows = checked.submission, checked.facts, checked.rows
    values: dict[str, Any] = {
        "kind": submission.spec.kind,
        "name": submission.name,
        "spec": canonical_json(submission.spec),
        "spec_hash": spec_hash(submission.spec),
        "user_name": submission.user,
        "priority": submission.priority,
        "queue": submission.queue,
        "state": JobState.QUEUED.value,
        "control": Control.RUN.value,
        "data_fingerprint": rows.fingerprint() if rows else None,
        "labels": json.dumps(facts.labels, ensure_ascii=False),
        "layers": facts.layers,
        "heads": facts.heads,
        "examples": len(rows) if rows else 0,
        **_keys(submission, rows),
    }
    examples = list(example_rows(rows, facts.labels, submission.spec)) if rows else None
    return store.create_job(database, values, examples)


def gold_labels(rows: Rows, labels: tuple[str, ...], spec: AttributionSpec) -> list[int | None]:
    """Gold labels as indices. Raises InputError naming the first row that does not fit."""
    found = [
        label_index(raw, labels, f"row {number}")
        for raw, number in zip(rows.labels, rows.source_rows, strict=True)
    ]
    if spec.target == "gold" and None in found:
        row = rows.source_rows[found.index(None)]
        raise refuse(
            "target", "gold", f"row {row} has no gold label", "Use 'predicted', or label every row."
        )
    return found


def example_rows(
    rows: Rows, labels: tuple[str, ...], spec: AttributionSpec
) -> Iterator[tuple[Any, ...]]:
    """Rows for the store: source_row, text_a, text_b, text_hash, gold."""
    second = rows.text_b or [None] * len(rows)  # type: ignore[list-item]
    gold = gold_labels(rows, labels, spec)
    for row, a, b, label in zip(rows.source_rows, rows.text_a, second, gold, strict=True):
        digest = hashlib.sha256(json.dumps([a, b]).encode()).hexdigest()
        yield row, a, b, digest, label


def _check_against_model(spec: AttributionSpec, facts: ModelFacts) -> None:
    if spec.target not in ("predicted", "gold", *facts.labels):
        raise refuse(
            "target",
            spec.target,
            "is not a label of the model",
            f"Give 'predicted', 'gold' or one of: {', '.join(facts.labels)}.",
        )
    if spec.max_length and facts.max_length and spec.max_length > facts.max_length:
        raise refuse(
            "max_length",
            spec.max_length,
            f"is more than the model's {facts.max_length} positions",
            "Give less, or leave it empty.",
        )


def _pinned(submission: Submission, facts: ModelFacts) -> Submission:
    """Pin a hub revision to the commit it means now: every shard must run the same model."""
    spec = submission.spec
    if facts.revision is None or spec.model.revision == facts.revision:
        return submission
    model = spec.model.model_copy(update={"revision": facts.revision})
    return submission.model_copy(update={"spec": spec.model_copy(update={"model": model})})


def _keys(submission: Submission, rows: Rows | None) -> dict[str, str | None]:
    data = rows.fingerprint() if rows else ""
    work = f"{submission.user} {spec_hash(submission.spec)} {data}"
    return {
        "user_name": submission.user,
        "dedupe_key": hashlib.sha256(work.encode()).hexdigest(),
        "idempotency_key": submission.idempotency_key,
    }


def _estimate(
    submission: Submission,
    facts: ModelFacts,
    rows: Rows | None,
    settings: Settings,
    database: Database,
) -> Estimate:
    kind = submission.spec.kind
    rate = lifecycle.measured_rate(database, kind, facts.layers, facts.heads)
    grace = queries.dead_after(settings.heartbeat_seconds)
    _, alive = lifecycle.idle_workers(database, grace).get(submission.queue, (0, 0))
    data = submission.spec.data
    examples = len(rows) if rows else min(filter(None, (data.limit, data.sample)), default=0)
    if not examples:
        return Estimate(examples=0, shards=0, seconds=None, basis="known once the data is loaded")
    return estimate(examples, rate, settings.shard_seconds, alive)
