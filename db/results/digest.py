"""The digest of an attribution job: statistics over many examples, computed once when it ends.

Completeness, accuracy and the distribution of scores come from evenly spaced examples, whose number
does not grow with the job. The strongest examples of each head come from those of each shard, and
so from all examples. While a job runs, its pages compute the same from fewer examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import RowMapping, select

from db import schema
from db.results.job_results import TableRows
from db.transaction import Transaction
from jobs.scheduling.plan import Lease
from jobs.states import ShardState

SAMPLE = 4_000
"""Examples that completeness is computed from."""
COUNTED = 50_000
"""Examples that accuracy is computed from."""
SCORED, SCORES = 2_000, 300_000
"""Most examples, and most scores, kept for histograms and for finding similar examples."""
TOP = 10
"""Strongest examples that are kept for a head."""
LIVE = {"completeness": 400, "confusion": 2_000, "scores": 200, "strongest": 2_000}
"""The same numbers of examples for the pages of a running job."""

PICK = """
WITH RECURSIVE pick(n) AS (
    SELECT 0 UNION ALL SELECT n + :step FROM pick WHERE n + :step < :examples)
"""
"""Every step-th example number; each is then looked up by its key, whatever the size. SQLite
does not reorder a CROSS JOIN; otherwise it would scan the job's rows."""

COMPLETENESS = (
    PICK
    + """
SELECT c.site, c.f1 - c.f0 AS change, c.residual, c.points, c.converged
FROM pick CROSS JOIN site_result c WHERE c.job_id = :job_id AND c.example_no = pick.n
"""
)

CONFUSION = (
    PICK
    + """
SELECT e.gold, r.predicted, COUNT(*) AS n
FROM pick CROSS JOIN example_result r CROSS JOIN example e
WHERE r.job_id = :job_id AND r.example_no = pick.n AND e.job_id = :job_id AND e.example_no = pick.n
    AND e.gold IS NOT NULL AND r.predicted IS NOT NULL
GROUP BY e.gold, r.predicted
"""
)

SCORES_OF = (
    PICK
    + """
SELECT h.example_no, h.site, h.head, h.score
FROM pick CROSS JOIN head_score h WHERE h.job_id = :job_id AND h.example_no = pick.n
"""
)

STRONGEST = (
    PICK
    + """
SELECT h.example_no, h.score FROM pick CROSS JOIN head_score h
WHERE h.job_id = :job_id AND h.example_no = pick.n AND h.site = :site AND h.head = :head
ORDER BY h.score DESC, h.example_no LIMIT :limit
"""
)

_NUMBER, _SCORE = np.dtype("<i4"), np.dtype("<f4")
Numbers = NDArray[np.int32]
Scores = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SiteCompleteness:
    """Completeness of the attribution of one site, over a sample of examples."""

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
class ScoreSample:
    """The head scores of some evenly spaced examples."""

    examples: Numbers
    """[E] their numbers."""
    scores: Scores
    """[E, S, H]; NaN for heads that a site does not have."""


def strongest_row(lease: Lease, numbers: NDArray[np.int64], score: Scores) -> dict[str, Any]:
    """The row of a shard's strongest examples for each head; score: [E, S, H]."""
    examples, scores = _strongest(
        np.broadcast_to(numbers[:, None, None], score.shape).astype(_NUMBER), score.astype(_SCORE)
    )
    return {"job_id": lease.job_id, "shard_no": lease.shard_no, **_stored(examples, scores)}


def rows_of(tx: Transaction, job_id: int, examples: int) -> TableRows:
    """Compute the digest of a job whose shards are all final."""
    sample = _read_scores(tx, job_id, examples, SCORED)
    sites, heads = sample.scores.shape[1:]
    stored = {"sites": sites, "heads": heads, **_stored(sample.examples, sample.scores)}
    confusion = tx.rows(CONFUSION, job_id=job_id, **picked(examples, COUNTED))
    completeness = _read_completeness(tx, job_id, examples, SAMPLE)
    return {
        schema.site_summary: [one.__dict__ for one in completeness],
        schema.confusion: [dict(row) for row in confusion],
        schema.strongest: _merged(tx, job_id, (sites, heads)),
        schema.score_sample: [stored],
    }


def completeness(tx: Transaction, job_id: int, examples: int) -> list[SiteCompleteness]:
    """Return the completeness of every site."""
    t = schema.site_summary.c
    columns = [t[name] for name in SiteCompleteness.__dataclass_fields__]
    query = select(*columns).where(t.job_id == job_id).order_by(t.site)
    found = [SiteCompleteness(**row._mapping) for row in tx.execute(query)]
    return found or _read_completeness(tx, job_id, examples, LIVE["completeness"])


def confusion(
    tx: Transaction, job_id: int, examples: int
) -> tuple[dict[tuple[int, int], int], bool]:
    """Count labelled examples by gold and predicted label; also tell whether all were counted."""
    t, most = schema.confusion.c, COUNTED
    query = select(t.gold, t.predicted, t.n).where(t.job_id == job_id)
    rows = list(tx.execute(query).mappings())
    # A job without gold labels has a digest and no counts.
    if not rows and not _has_digest(tx, job_id):
        most = LIVE["confusion"]
        rows = tx.rows(CONFUSION, job_id=job_id, **picked(examples, most))
    return label_counts(rows), examples <= most


def label_counts(rows: Iterable[Mapping[Any, Any]]) -> dict[tuple[int, int], int]:
    """Return counts of examples by gold and predicted label from rows of `confusion`."""
    return {(row["gold"], row["predicted"]): int(row["n"]) for row in rows}


def score_sample(tx: Transaction, job_id: int, examples: int) -> ScoreSample:
    """Return the scores of every head on evenly spaced examples."""
    t = schema.score_sample.c
    query = select(t.sites, t.heads, t.examples, t.scores).where(t.job_id == job_id)
    row = tx.execute(query).first()
    if row is None:
        return _read_scores(tx, job_id, examples, LIVE["scores"])
    scores = np.frombuffer(row.scores, dtype=_SCORE).reshape(-1, row.sites, row.heads)
    return ScoreSample(examples=np.frombuffer(row.examples, dtype=_NUMBER), scores=scores)


def strongest(
    tx: Transaction, job_id: int, site: int, head: int, examples: int
) -> tuple[list[int], int]:
    """Return the examples with a head's highest scores, and how many examples were searched."""
    t = schema.strongest.c
    mine = (t.job_id == job_id) & (t.site == site) & (t.head == head)
    found = list(tx.execute(select(t.example_no).where(mine).order_by(t.rank)).scalars())
    if found:
        return found, examples
    values = {"site": site, "head": head, "limit": TOP, **picked(examples, LIVE["strongest"])}
    rows = tx.rows(STRONGEST, job_id=job_id, **values)
    return [row["example_no"] for row in rows], min(examples, LIVE["strongest"])


def picked(examples: int, most: int) -> dict[str, int]:
    """Return the values for PICK that select at most `most` of a job's examples."""
    return {"examples": examples, "step": max(1, math.ceil(examples / most))}


def _has_digest(tx: Transaction, job_id: int) -> bool:
    t = schema.score_sample.c
    return tx.execute(select(t.job_id).where(t.job_id == job_id)).first() is not None


def _read_completeness(
    tx: Transaction, job_id: int, examples: int, most: int
) -> list[SiteCompleteness]:
    sites: dict[int, list[RowMapping]] = {}
    for row in tx.rows(COMPLETENESS, job_id=job_id, **picked(examples, most)):
        sites.setdefault(row["site"], []).append(row)
    return [_completeness(site, rows) for site, rows in sorted(sites.items())]


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


def _read_scores(tx: Transaction, job_id: int, examples: int, most: int) -> ScoreSample:
    sites = schema.site.c
    heads = list(tx.execute(select(sites.heads).where(sites.job_id == job_id)).scalars())
    most = max(1, min(most, SCORES // max(1, sum(heads))))
    values = {"job_id": job_id, **picked(examples, most)}
    rows = tx.run(SCORES_OF, **values).all()
    table = np.array([tuple(row) for row in rows], dtype="i8,i8,i8,f4")
    numbers, row_of = np.unique(table["f0"], return_inverse=True)
    scores = np.full((len(numbers), len(heads), max(heads, default=0)), np.nan, dtype=_SCORE)
    scores[row_of, table["f1"], table["f2"]] = table["f3"]
    return ScoreSample(examples=numbers.astype(_NUMBER), scores=scores)


def _merged(tx: Transaction, job_id: int, grid: tuple[int, ...]) -> list[dict[str, Any]]:
    """Merge the strongest examples of all shards; empty if an old release stored none."""
    t, s = schema.shard_top.c, schema.shard.c
    silent = select(s.shard_no).where(
        (s.job_id == job_id)
        & (s.state == ShardState.DONE)
        & (s.examples_failed < s.hi - s.lo)
        & s.shard_no.not_in(select(t.shard_no).where(t.job_id == job_id))
    )
    if tx.execute(silent.limit(1)).first() is not None:
        return []
    examples, scores = np.empty((0, *grid), dtype=_NUMBER), np.empty((0, *grid), dtype=_SCORE)
    query = select(t.examples, t.scores).where(t.job_id == job_id)
    for row in tx.execute(query.execution_options(yield_per=100)):
        more = np.frombuffer(row.examples, dtype=_NUMBER).reshape(-1, *grid)
        values = np.frombuffer(row.scores, dtype=_SCORE).reshape(-1, *grid)
        both = np.concatenate([examples, more]), np.concatenate([scores, values])
        examples, scores = _strongest(*both)
    return [
        {
            "site": site,
            "head": head,
            "rank": rank + 1,
            "example_no": int(examples[rank, site, head]),
        }
        for rank, site, head in np.argwhere(~np.isnan(scores)).tolist()
    ]


def _strongest(examples: Numbers, scores: Scores) -> tuple[Numbers, Scores]:
    """Reduce [E, S, H] to [k, S, H]: largest scores first, among equals the earlier example."""
    order = np.lexsort((examples, -scores), axis=0)[:TOP]
    return np.take_along_axis(examples, order, 0), np.take_along_axis(scores, order, 0)


def _stored(examples: Numbers, scores: Scores) -> dict[str, bytes]:
    return {
        "examples": examples.astype(_NUMBER).tobytes(),
        "scores": scores.astype(_SCORE).tobytes(),
    }
