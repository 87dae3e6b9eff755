"""Queries about attack jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping

from db.database import Database
from db.kinds.attack import read_parts, read_results
from headwise.attack.placing import words_into
from jobs.errors import NotFoundError
from jobs.kinds.attack import TriggerKind, TriggerResult, trigger_results
from jobs.kinds.triggers import TriggerToken

TRIGGERS = """
SELECT trigger_no, kind, control_of, label, text, parts, support, strength, origin_job,
    origin_example
FROM attack_trigger WHERE job_id = :job_id ORDER BY trigger_no
"""
SOURCES = """
SELECT s.source_no, s.origin_job, s.origin_example, s.score, s.cells, e.text_a, e.text_b
FROM trigger_source s
LEFT JOIN example e ON e.job_id = s.origin_job AND e.example_no = s.origin_example
WHERE s.job_id = :job_id AND s.trigger_no = :trigger ORDER BY s.source_no LIMIT :limit
"""
FLIPPED = """
SELECT u.example_no, e.gold, u.predicted, u.probabilities, e.text_a, e.text_b
FROM trigger_outcome u
JOIN example_result r ON r.job_id = u.job_id AND r.example_no = u.example_no
JOIN example e ON e.job_id = u.job_id AND e.example_no = u.example_no
WHERE u.job_id = :job_id AND u.trigger_no = :trigger AND u.model_no = 0
    AND r.predicted = e.gold AND u.predicted <> e.gold
ORDER BY u.example_no LIMIT :limit
"""
OUTCOME = """
SELECT r.predicted AS predicted_before, r.probabilities AS before, u.predicted AS predicted_after,
    u.probabilities AS after, e.text_a, e.text_b, r.error
FROM example_result r
JOIN example e ON e.job_id = r.job_id AND e.example_no = r.example_no
LEFT JOIN trigger_outcome u ON u.job_id = r.job_id AND u.example_no = r.example_no
    AND u.trigger_no = 0 AND u.model_no = 0
WHERE r.job_id = :job_id AND r.example_no = 0
"""
FINISHED = """
SELECT id, name FROM job WHERE kind = :kind AND state = 'succeeded' ORDER BY id DESC LIMIT 100
"""


@dataclass(frozen=True, kw_only=True)
class StoredTrigger:
    """A trigger of a job. Fields about its origin are None for a given trigger."""

    number: int
    kind: TriggerKind
    control_of: int | None
    label: int | None
    text: str
    tokens: tuple[TriggerToken, ...]
    support: int | None
    strength: float | None
    origin_job: int | None
    origin_example: int | None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Predictions for one text without and with the words of an attack on a text."""

    texts: tuple[str, ...]
    texts_after: tuple[str, ...]
    """With the words of the trigger."""
    before: tuple[float, ...]
    after: tuple[float, ...]
    predicted_before: int
    predicted_after: int


def list_triggers(database: Database, job_id: int) -> list[StoredTrigger]:
    """List the triggers of a job; none before it is planned."""
    taken = ("trigger_no", "kind", "parts")
    return [
        StoredTrigger(
            number=row["trigger_no"],
            kind=TriggerKind(row["kind"]),
            tokens=read_parts(row["parts"]),
            **{name: value for name, value in row.items() if name not in taken},
        )
        for row in database.rows(TRIGGERS, job_id=job_id)
    ]


def get_trigger(database: Database, job_id: int, number: int) -> StoredTrigger:
    """Get one trigger. Raises NotFoundError."""
    found = list_triggers(database, job_id)
    if number >= len(found):
        raise NotFoundError(f"Job {job_id} has no trigger {number}.")
    return found[number]


def get_results(database: Database, job_id: int) -> list[TriggerResult]:
    """Get the rates of every trigger, model and gold class, from the shards done so far."""
    kinds = {trigger.number: trigger.kind for trigger in list_triggers(database, job_id)}
    with database.read() as tx:
        return trigger_results(read_results(tx, job_id), kinds)


def list_sources(database: Database, job_id: int, trigger: int, limit: int) -> list[dict[str, Any]]:
    """List the examples that a trigger was mined from, the strongest first, with their cells."""
    rows = database.rows(SOURCES, job_id=job_id, trigger=trigger, limit=limit)
    return [{**row, "cells": json.loads(row["cells"])} for row in rows]


def list_flipped(database: Database, job_id: int, trigger: int, limit: int) -> list[RowMapping]:
    """List examples that the job's model predicts wrongly because of a trigger."""
    return database.rows(FLIPPED, job_id=job_id, trigger=trigger, limit=limit)


def get_tried(database: Database, job_id: int) -> Tried | None:
    """Get the effect of the first trigger on the first example; None until it is computed."""
    rows = [row for row in database.rows(OUTCOME, job_id=job_id) if row["after"] is not None]
    if not rows:
        return None
    row, tokens = rows[0], get_trigger(database, job_id, 0).tokens
    texts = tuple(part for part in (row["text_a"], row["text_b"]) if part is not None)
    added = [[(t.word, t.position) for t in tokens if t.segment == n] for n in range(len(texts))]
    return Tried(
        texts=texts,
        texts_after=tuple(map(words_into, texts, added)),
        before=tuple(json.loads(row["before"])),
        after=tuple(json.loads(row["after"])),
        predicted_before=row["predicted_before"],
        predicted_after=row["predicted_after"],
    )


def list_finished(database: Database, kind: str) -> list[tuple[int, str]]:
    """List number and name of the newest succeeded jobs of a kind."""
    return [(row["id"], row["name"]) for row in database.rows(FINISHED, kind=kind)]
