"""Mining triggers from the stored edges of an attribution job; see `jobs.kinds.triggers`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import RowMapping

from db.results.words import from_columns
from db.transaction import Transaction
from jobs.errors import ConflictError
from jobs.kinds.triggers import (
    OFFICIAL,
    Candidate,
    Cell,
    TextTokens,
    Trigger,
    TriggerRule,
    merge,
)

_STORED = """
FROM edge t JOIN edge s ON s.job_id = t.job_id AND s.example_no = t.example_no AND s.rank = 1
WHERE t.job_id = :job_id AND t.example_no < :examples
"""
_CHOSEN = "(NOT :one_head OR (t.site = s.site AND t.head = s.head))"
"""The cells of the head with the largest cell of all, or of every head."""

CELLS = f"""
WITH ranked AS (
    SELECT t.example_no, t.site, t.head, t.query, t.key,
        CAST(t.attribution AS DOUBLE PRECISION) AS value,
        ROW_NUMBER() OVER (PARTITION BY t.example_no ORDER BY t.rank) AS place
    {_STORED} AND {_CHOSEN}),
scored AS (
    SELECT ranked.*, SUM(value) OVER (PARTITION BY example_no) AS score,
        MAX(value) OVER (PARTITION BY example_no) AS largest
    FROM ranked WHERE place <= :cells)
SELECT c.example_no, p.layer, p.kind AS attention_type, c.head, c.query, c.key, c.value, c.score,
    r.tokens, r.word_index, r.token_spans, e.text_a, e.text_b,
    CASE WHEN :label = 'gold' THEN e.gold ELSE r.predicted END AS label
FROM scored c
JOIN site p ON p.job_id = :job_id AND p.site = c.site
JOIN example_result r ON r.job_id = :job_id AND r.example_no = c.example_no
JOIN example e ON e.job_id = :job_id AND e.example_no = c.example_no
WHERE c.score >= :threshold AND c.value >= :ratio * c.largest AND r.tokens IS NOT NULL
    AND CASE WHEN :label = 'gold' THEN e.gold ELSE r.predicted END IS NOT NULL
ORDER BY c.example_no, c.place
"""  # noqa: S608 - constants
"""The largest cells of each example, as many as the rule takes, without cells and examples below
its thresholds."""

COUNTS = """
SELECT COUNT(*) AS examples, COUNT(r.tokens) AS kept,
    COUNT((SELECT t.rank FROM edge t WHERE t.job_id = r.job_id AND t.example_no = r.example_no
           AND t.rank = 1)) AS with_edges
FROM example_result r
WHERE r.job_id = :job_id AND r.example_no < :examples AND r.error IS NULL
"""


@dataclass(frozen=True, kw_only=True)
class Mined:
    """The triggers found in a job."""

    triggers: list[Trigger]
    """By class, the strongest first."""
    tokens: dict[tuple[int, int], TextTokens]
    """The tokens of the triggers' first sources by job and example, for random controls."""


def mine(tx: Transaction, job_id: int, rule: TriggerRule = OFFICIAL) -> Mined:
    """Mine triggers from the edges of a finished attribution job.

    Raises ConflictError if it has no results, or has kept no edges or no texts.
    """
    _check(tx, job_id, rule)
    rows = tx.rows(CELLS, job_id=job_id, **rule.model_dump())
    grouped = groupby(rows, key=lambda row: int(row["example_no"]))
    found = [_candidate(job_id, number, list(cells)) for number, cells in grouped]
    divided = [candidate for candidate in found if candidate is not None]
    triggers = merge(divided, rule)
    first = {trigger.sources[0].example for trigger in triggers}
    return Mined(
        triggers=triggers,
        tokens={(c.job, c.example): c.tokens for c in divided if c.example in first},
    )


def _check(tx: Transaction, job_id: int, rule: TriggerRule) -> None:
    """Raise ConflictError if no example has what mining needs."""
    counts = tx.rows(COUNTS, job_id=job_id, examples=rule.examples)[0]
    for column, what, remedy in (
        ("examples", "has no results", "Choose another job"),
        ("kept", "did not keep its texts", "Run it again with keep_text = true"),
        ("with_edges", "stored no edges", "Run it again with edges of at least 16"),
    ):
        if not counts[column]:
            raise ConflictError(f"Job {job_id} {what}: no trigger can be found. {remedy}.")


def _candidate(job_id: int, example: int, rows: list[RowMapping]) -> Candidate | None:
    """Make a candidate; None if its tokens do not show where each text begins and ends."""
    first = rows[0]
    texts = [text for name in ("text_a", "text_b") if (text := first[name]) is not None]
    known = from_columns(first["word_index"], first["token_spans"]) if texts else None
    tokens = TextTokens.of(json.loads(first["tokens"]), texts, known)
    if tokens is None:
        return None
    names = ("layer", "attention_type", "head", "query", "key", "value")
    return Candidate(
        job=job_id,
        example=example,
        label=first["label"],
        tokens=tokens,
        cells=tuple(Cell(**{name: row[name] for name in names}) for row in rows),
        score=first["score"],
    )
