"""The examples of a job that tell most at a glance, as reports show them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db.database import Database

FIRST = 1_000
"""Examples that are looked at, the first ones."""
LONGEST = 300
"""Letters of a text, or of the two of a pair, whose figures can be read on a page."""

SHORT = """
SELECT r.example_no AS example, e.gold, r.predicted, r.probabilities
FROM example_result r JOIN example e ON e.job_id = r.job_id AND e.example_no = r.example_no
WHERE r.job_id = :job_id AND r.example_no < :first AND r.error IS NULL
    AND r.token_attribution IS NOT NULL
    AND length(e.text_a) + COALESCE(length(e.text_b), 0) <= :longest
ORDER BY r.example_no
"""
"""A text that was not kept has no length."""


@dataclass(frozen=True, kw_only=True)
class Telling:
    """An example with the reason for which it was chosen."""

    example: int
    reason: str
    gold: int | None
    predicted: int | None
    probability: float | None
    """Of the predicted class."""


def telling_examples(database: Database, job_id: int) -> list[Telling]:
    """The right and the wrong prediction with the highest probability; else the first example.

    The first of equal ones counts. Empty where no short text is stored.
    """
    rows = database.rows(SHORT, job_id=job_id, first=FIRST, longest=LONGEST)
    known = [row for row in rows if None not in (row["gold"], row["predicted"])]
    right = [row for row in known if row["gold"] == row["predicted"]]
    wrong = [row for row in known if row["gold"] != row["predicted"]]
    if known:
        found = _surest(right, "the most confident right prediction")
        return found + _surest(wrong, "the most confident wrong prediction")
    return [_telling(row, "the first example") for row in rows[:1]]


def _surest(rows: Sequence[Any], reason: str) -> list[Telling]:
    found = [_telling(row, reason) for row in rows]
    return [max(found, key=lambda one: one.probability or 0.0)] if found else []


def _telling(row: Any, reason: str) -> Telling:
    probabilities = json.loads(row["probabilities"] or "[]")
    predicted = row["predicted"]
    has = predicted is not None and predicted < len(probabilities)
    return Telling(
        example=row["example"],
        reason=reason,
        gold=row["gold"],
        predicted=predicted,
        probability=probabilities[predicted] if has else None,
    )
