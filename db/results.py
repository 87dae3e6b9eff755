"""What pages and commands read of a job's results. Jobs, shards and workers: `db.queries`.

Nothing here scans a job's head scores: importance comes from the importance table or the shards'
sums, one example by its key, and what needs many examples (distributions, quantiles, frequent
pairs) from an evenly spaced sample of them, whose size is part of the answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, text

from db.database import Database
from db.queries import escape_like
from db.views import VIEWS
from jobs.errors import NotFoundError
from jobs.merge import HeadImportance, HeadSums, head_importance

SAMPLE = 4_000
"""Examples that a distribution or a quantile is computed from."""
SEARCHED = 50_000
"""Examples that are searched for the strongest of a head, and that accuracy is counted on."""
ALIKE = 1_000
"""Examples that are compared to find similar ones."""

SITES = "SELECT site, layer, kind, heads, name FROM site WHERE job_id = :job_id ORDER BY site"

IMPORTANCE = """
SELECT site, head, rank, n, mean, std, low, high, mean_total, mean_absolute_total,
    mean_attention_max, mean_attention_mean
FROM importance WHERE job_id = :job_id ORDER BY site, head
"""

SUMS = """
SELECT site, head, SUM(n) AS n, SUM(score_sum) AS score_sum, SUM(score_squares) AS score_squares,
    SUM(total_sum) AS total_sum, SUM(absolute_total_sum) AS absolute_total_sum,
    SUM(attention_max_sum) AS attention_max_sum, SUM(attention_mean_sum) AS attention_mean_sum
FROM shard_sum WHERE job_id = :job_id GROUP BY site, head
"""
"""What the shards done so far add up to: provisional, the final table is merged exactly."""

_PICK = """
WITH RECURSIVE pick(n) AS (
    SELECT 0 UNION ALL SELECT n + :step FROM pick WHERE n + :step < :examples)
"""
"""Every step-th example number: each is then looked up by key, whatever the table's size.
CROSS JOIN, which SQLite does not reorder: it would scan the job's rows otherwise."""

COMPLETENESS = (
    _PICK
    + """
SELECT c.site, c.f1 - c.f0 AS change, c.residual, c.points, c.converged
FROM pick CROSS JOIN site_result c WHERE c.job_id = :job_id AND c.example_no = pick.n
"""
)

HEAD_SCORES = (
    _PICK
    + """
SELECT h.score FROM pick CROSS JOIN head_score h WHERE h.job_id = :job_id AND h.example_no = pick.n
    AND h.site = :site AND h.head = :head
"""
)

STRONGEST = (
    _PICK  # noqa: S608 - constants
    + """
SELECT h.example_no, h.score, h.total, h.query, h.key, r.tokens, r.predicted, e.gold,
    substr(e.text_a, 1, 240) AS text_a, substr(e.text_b, 1, 240) AS text_b
FROM (SELECT s.example_no, s.score, s.total, s.query, s.key FROM pick CROSS JOIN head_score s
      WHERE s.job_id = :job_id AND s.example_no = pick.n AND s.site = :site AND s.head = :head
      ORDER BY s.score DESC, s.example_no LIMIT :limit) h
JOIN example_result r ON r.job_id = :job_id AND r.example_no = h.example_no
JOIN example e ON e.job_id = :job_id AND e.example_no = h.example_no
ORDER BY h.score DESC, h.example_no
"""
)

PAIRS = (
    _PICK
    + """
SELECT t.query_token, t.key_token, COUNT(*) AS n, SUM(t.attribution) AS attribution,
    AVG(t.attention) AS attention
FROM pick CROSS JOIN edge t
WHERE t.job_id = :job_id AND t.example_no = pick.n
    AND t.site = :site AND t.head = :head AND t.query_token IS NOT NULL
GROUP BY t.query_token, t.key_token ORDER BY n DESC, SUM(t.attribution) DESC LIMIT :limit
"""
)

ALIKE_EXAMPLES = (
    _PICK
    + """
SELECT b.example_no, SUM(a.score * b.score) AS dot, SUM(b.score * b.score) AS square
FROM pick CROSS JOIN head_score b CROSS JOIN head_score a
WHERE b.job_id = :job_id AND b.example_no = pick.n AND pick.n <> :example
    AND a.job_id = :job_id AND a.example_no = :example AND a.site = b.site AND a.head = b.head
GROUP BY b.example_no
"""
)

_EXAMPLES = """
FROM example_result r JOIN example e ON e.job_id = r.job_id AND e.example_no = r.example_no
WHERE r.job_id = :job_id
"""

_FILTERS = {
    "wrong": "r.predicted <> e.gold",
    "right": "r.predicted = e.gold",
    "failed": "r.error IS NOT NULL",
    "truncated": "r.truncated",
}
ONLY = tuple(_FILTERS)
"""The named filters of an example list."""

EXAMPLE_COLUMNS = """
SELECT r.example_no, e.source_row, e.gold, r.predicted, r.target, r.probabilities, r.truncated,
    r.error, {texts}
"""

CONFUSION = (
    _PICK
    + """
SELECT e.gold, r.predicted, COUNT(*) AS n
FROM pick CROSS JOIN example_result r CROSS JOIN example e
WHERE r.job_id = :job_id AND r.example_no = pick.n AND e.job_id = :job_id AND e.example_no = pick.n
    AND e.gold IS NOT NULL AND r.predicted IS NOT NULL
GROUP BY e.gold, r.predicted
"""
)

EXAMPLE_SCORES = """
SELECT site, head, score, total, query, key, attention_max, attention_mean
FROM head_score WHERE job_id = :job_id AND example_no = :example ORDER BY site, head
"""
EXAMPLE_SITES = """
SELECT site, f0, f1, residual, points, converged
FROM site_result WHERE job_id = :job_id AND example_no = :example ORDER BY site
"""
EXAMPLE_EDGES = """
SELECT rank, site, head, query, key, query_token, key_token, attribution, attention
FROM edge WHERE job_id = :job_id AND example_no = :example ORDER BY rank
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One attention module of a job's model."""

    site: int
    layer: int
    kind: str
    heads: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importance of every head, by site and head."""

    heads: list[HeadImportance]
    provisional: bool
    """True while shards are missing."""


@dataclass(frozen=True, kw_only=True)
class SiteCompleteness:
    """How well the attribution of one site adds up, over a sample of examples."""

    site: int
    n: int
    converged: float
    """Share of the examples whose estimated error met the tolerance."""
    points: float
    """Mean number of integration points."""
    change: float
    """Mean of |f1 - f0|, in the target's unit."""
    median: float
    p95: float
    worst: float
    """Quantiles of |residual|, in the target's unit."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An example and its result; lists hold the texts shortened and no tokens."""

    example: int
    source_row: int
    gold: int | None
    predicted: int | None
    target: int | None
    probabilities: tuple[float, ...]
    truncated: bool
    error: str | None
    text_a: str | None
    text_b: str | None
    tokens: tuple[str, ...] | None = None
    token_attribution: list[list[float]] | None = None
    """[site, key token]: attribution summed over the site's heads and queries."""

    @property
    def wrong(self) -> bool:
        """Whether the prediction differs from a gold label that is there."""
        return None not in (self.gold, self.predicted) and self.gold != self.predicted


def list_sites(database: Database, job_id: int) -> list[Site]:
    """The job's sites; empty before its first shard is done."""
    return [Site(**row) for row in _rows(database, SITES, job_id)]


def get_importance(database: Database, job_id: int) -> Importance:
    """Head importance; from the sums of the shards done so far while the job runs."""
    final = [HeadImportance(**row) for row in _rows(database, IMPORTANCE, job_id)]
    if final:
        return Importance(heads=final, provisional=False)
    sums = [HeadSums(**{**row, "n": int(row["n"])}) for row in _rows(database, SUMS, job_id)]
    return Importance(heads=head_importance(sums), provisional=True)


def get_completeness(database: Database, job_id: int, examples: int) -> list[SiteCompleteness]:
    """Completeness by site over SAMPLE evenly spaced examples."""
    sites: dict[int, list[RowMapping]] = {}
    for row in _rows(database, COMPLETENESS, job_id, **_picked(examples, SAMPLE)):
        sites.setdefault(row["site"], []).append(row)
    return [_completeness(site, rows) for site, rows in sorted(sites.items())]


def list_examples(
    database: Database,
    job_id: int,
    *,
    only: str = "",
    predicted: int | None = None,
    gold: int | None = None,
    contains: str = "",
    after: int = -1,
    before: int | None = None,
    limit: int = 25,
) -> list[Example]:
    """Examples in order, from the one after `after`, or the last ones before `before`."""
    conditions = [_EXAMPLES, "AND r.example_no > :after"]
    values: dict[str, object] = {"after": after, "limit": limit}
    if before is not None:
        conditions.append("AND r.example_no < :before")
        values["before"] = before
    if only:
        conditions.append(f"AND {_FILTERS[only]}")
    for name, label in (("predicted", predicted), ("gold", gold)):
        if label is not None:
            table = "r" if name == "predicted" else "e"
            conditions.append(f"AND {table}.{name} = :{name}")
            values[name] = label
    if contains:
        conditions.append(
            "AND (lower(e.text_a) LIKE :text ESCAPE '!' OR lower(e.text_b) LIKE :text ESCAPE '!')"
        )
        values["text"] = escape_like(contains.lower())
    order = "DESC" if before is not None else "ASC"
    conditions.append(f"ORDER BY r.example_no {order} LIMIT :limit")
    short = "substr(e.text_a, 1, 240) AS text_a, substr(e.text_b, 1, 240) AS text_b"
    statement = EXAMPLE_COLUMNS.format(texts=short) + " ".join(conditions)
    found = [_example(row) for row in _rows(database, statement, job_id, **values)]
    return sorted(found, key=lambda example: example.example)


def get_example(database: Database, job_id: int, example: int) -> Example:
    """One example with its tokens. Raises NotFoundError."""
    whole = "e.text_a, e.text_b, r.tokens, r.token_attribution"
    statement = EXAMPLE_COLUMNS.format(texts=whole) + _EXAMPLES + "AND r.example_no = :example"
    rows = _rows(database, statement, job_id, example=example)
    if not rows:
        raise NotFoundError(f"Job {job_id} has no result for example {example}.")
    return _example(rows[0])


def get_confusion(database: Database, job_id: int, examples: int) -> dict[tuple[int, int], int]:
    """Labelled examples by gold and predicted label, of up to SEARCHED evenly spaced ones."""
    rows = _rows(database, CONFUSION, job_id, **_picked(examples, SEARCHED))
    return {(row["gold"], row["predicted"]): int(row["n"]) for row in rows}


def example_scores(database: Database, job_id: int, example: int) -> list[RowMapping]:
    """Every head's numbers for one example: site, head, score, total, query, key, attention."""
    return _rows(database, EXAMPLE_SCORES, job_id, example=example)


def example_sites(database: Database, job_id: int, example: int) -> list[RowMapping]:
    """Completeness of one example: site, f0, f1, residual, points, converged."""
    return _rows(database, EXAMPLE_SITES, job_id, example=example)


def example_edges(database: Database, job_id: int, example: int) -> list[RowMapping]:
    """The strongest cells of one example."""
    return _rows(database, EXAMPLE_EDGES, job_id, example=example)


def head_scores(
    database: Database, job_id: int, site: int, head: int, examples: int
) -> list[float]:
    """Scores of one head over SAMPLE evenly spaced examples."""
    picked = _picked(examples, SAMPLE)
    rows = _rows(database, HEAD_SCORES, job_id, site=site, head=head, **picked)
    return [row["score"] for row in rows]


def strongest_examples(
    database: Database, job_id: int, site: int, head: int, examples: int, limit: int = 10
) -> list[RowMapping]:
    """The examples with the head's highest scores, of up to SEARCHED evenly spaced ones."""
    picked = _picked(examples, SEARCHED)
    return _rows(database, STRONGEST, job_id, site=site, head=head, limit=limit, **picked)


def frequent_pairs(
    database: Database, job_id: int, site: int, head: int, examples: int, limit: int = 20
) -> list[RowMapping]:
    """The head's most frequent token pairs among the strongest cells of sampled examples."""
    picked = _picked(examples, 2 * SAMPLE)
    return _rows(database, PAIRS, job_id, site=site, head=head, limit=limit, **picked)


def alike_examples(
    database: Database, job_id: int, example: int, examples: int, limit: int = 5
) -> list[tuple[int, float]]:
    """Examples with the most similar head scores (cosine), of up to ALIKE evenly spaced ones."""
    own = math.sqrt(sum(r["score"] ** 2 for r in example_scores(database, job_id, example)))
    picked = _picked(examples, ALIKE)
    rows = _rows(database, ALIKE_EXAMPLES, job_id, example=example, **picked)
    found = [
        (row["example_no"], row["dot"] / (own * math.sqrt(row["square"])))
        for row in rows
        if own and row["square"]
    ]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:limit]


def export_view(database: Database, view_name: str, job_id: int) -> Iterator[tuple[Any, ...]]:
    """Every row of a published view that belongs to a job, streamed; the first has the names."""
    view = next(view for view in VIEWS if view.name == view_name)
    statement = f"SELECT * FROM {view.name} WHERE job_id = :job_id"  # noqa: S608 - a known view
    yield tuple(column.name for column in view.columns)
    with database.read() as connection:
        streamed = connection.execution_options(yield_per=2_000)
        for row in streamed.execute(text(statement), {"job_id": job_id}):
            yield tuple(row)


def parse_list(stored: str | None) -> list[Any]:
    """A stored JSON array; empty where nothing is stored."""
    return list(json.loads(stored)) if stored else []


def _rows(database: Database, statement: str, job_id: int, **values: object) -> list[RowMapping]:
    with database.read() as connection:
        found = connection.execute(text(statement), {"job_id": job_id, **values})
        return list(found.mappings().all())


def _picked(examples: int, most: int) -> dict[str, int]:
    return {"examples": examples, "step": max(1, math.ceil(examples / most))}


def _completeness(site: int, rows: list[RowMapping]) -> SiteCompleteness:
    residuals = sorted(abs(row["residual"]) for row in rows)
    n = len(rows)
    return SiteCompleteness(
        site=site,
        n=n,
        converged=sum(bool(row["converged"]) for row in rows) / n,
        points=sum(row["points"] for row in rows) / n,
        change=sum(abs(row["change"]) for row in rows) / n,
        median=residuals[(n - 1) // 2],
        p95=residuals[min(n - 1, math.ceil(0.95 * n) - 1)],
        worst=residuals[-1],
    )


def _example(row: RowMapping) -> Example:
    values = dict(row)
    for name in ("probabilities", "tokens", "token_attribution"):
        if values.get(name) is not None:
            values[name] = json.loads(values[name])
    tokens = values.pop("tokens", None)
    return Example(
        example=values.pop("example_no"),
        probabilities=tuple(values.pop("probabilities") or ()),
        truncated=bool(values.pop("truncated")),
        tokens=None if tokens is None else tuple(tokens),
        **values,
    )
