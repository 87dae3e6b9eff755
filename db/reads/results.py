"""Queries about a job's results. Queries about jobs and shards: `db.reads.jobs`.

Nothing here scans all head scores of a job: importance comes from the importance table or the
shards' sums, an example is found by its key, and what needs many examples (distributions,
quantiles, frequent pairs) comes from the job's digest or from evenly spaced examples.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import RowMapping

from db.database import Database
from db.reads.jobs import escape_like
from db.results import digest, rankings
from db.results.digest import PICK, SiteCompleteness
from db.results.words import from_columns
from headwise.naming import head_name
from headwise.segmentation import Segmentation
from headwise.sentences import numbered
from headwise.trees import Interactions
from jobs.errors import NotFoundError
from jobs.kinds.head_importance import HeadImportance, HeadSums, head_importance
from jobs.results.head_tokens import unpack_head

PAIRED = 4_000
"""Examples whose strongest cells are searched for frequent pairs."""
ALIKE = 5
"""Examples that are shown as the most similar ones."""

SITES = """
SELECT site, layer, kind AS attention_type, heads, name
FROM site WHERE job_id = :job_id ORDER BY site
"""

IMPORTANCE = """
SELECT site, head, rank, n, mean, std, low, high, mean_total, mean_absolute_total,
    mean_attention_max, mean_attention_mean
FROM importance WHERE job_id = :job_id ORDER BY site, head
"""

SUMS = """
SELECT site, head, SUM(n) AS n, SUM(score_sum) AS score_sum, SUM(score_squares) AS score_squares,
    SUM(total_sum) AS total_sum, SUM(absolute_total_sum) AS absolute_total_sum,
    SUM(attention_max_sum) AS attention_max_sum, SUM(attention_mean_sum) AS attention_mean_sum
FROM shard_sum WHERE job_id = :job_id AND shard_no IN :blocks GROUP BY site, head
"""
"""The sums of some blocks, for provisional importance; the final table is merged from all."""

STRONG_EXAMPLES = """
SELECT h.example_no, h.score, h.total, h.query, h.key, r.tokens, r.word_index, r.token_spans,
    r.predicted, e.gold, e.text_a, e.text_b
FROM head_score h
JOIN example_result r ON r.job_id = h.job_id AND r.example_no = h.example_no
JOIN example e ON e.job_id = h.job_id AND e.example_no = h.example_no
WHERE h.job_id = :job_id AND h.example_no IN :examples AND h.site = :site AND h.head = :head
ORDER BY h.score DESC, h.example_no
"""

INTERACTIONS = """
SELECT interactions FROM example_result WHERE job_id = :job_id AND example_no = :example
"""

PAIRS = (
    PICK
    + """
SELECT COALESCE(t.query_word, t.query_token) AS query_word,
    COALESCE(t.key_word, t.key_token) AS key_word, COUNT(*) AS n, SUM(t.attribution) AS attribution,
    AVG(t.attention) AS attention
FROM pick CROSS JOIN edge t
WHERE t.job_id = :job_id AND t.example_no = pick.n
    AND t.site = :site AND t.head = :head AND t.query_token IS NOT NULL
GROUP BY 1, 2 ORDER BY n DESC, SUM(t.attribution) DESC LIMIT :limit
"""
)

_EXAMPLES = """
FROM example_result r JOIN example e ON e.job_id = r.job_id AND e.example_no = r.example_no
WHERE r.job_id = :job_id
"""
_EXAMPLES_BY_TEXT = """
FROM example e CROSS JOIN example_result r
WHERE e.job_id = :job_id AND r.job_id = :job_id AND r.example_no = e.example_no
"""
"""The same, texts first: otherwise SQLite reads the result of every example to look at its text."""

_SHORTENED = "substr(e.text_a, 1, 240) AS text_a, substr(e.text_b, 1, 240) AS text_b"

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

EXAMPLE_SCORES = """
SELECT site, head, score, total, query, key, attention_max, attention_mean
FROM head_score WHERE job_id = :job_id AND example_no = :example ORDER BY site, head
"""
HEAD_TOKENS = """
SELECT head_token_attribution FROM example_result WHERE job_id = :job_id AND example_no = :example
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
    attention_type: str
    heads: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importance of every head, by site and head."""

    heads: list[HeadImportance]
    provisional: bool
    """True while shards are missing."""


@dataclass(frozen=True, kw_only=True)
class ExampleFilter:
    """The examples to list."""

    only: str = ""
    """One of ONLY."""
    predicted: int | None = None
    gold: int | None = None
    contains: str = ""
    """Part of a text, in any case."""

    def conditions(self) -> tuple[list[str], dict[str, object]]:
        """Return SQL conditions and their values."""
        conditions: list[str] = []
        values: dict[str, object] = {}
        if self.only:
            conditions.append(_FILTERS[self.only])
        if self.predicted is not None:
            conditions.append("r.predicted = :predicted")
            values["predicted"] = self.predicted
        if self.gold is not None:
            conditions.append("e.gold = :gold")
            values["gold"] = self.gold
        if self.contains:
            either = (f"lower(e.{text}) LIKE :text ESCAPE '!'" for text in ("text_a", "text_b"))
            conditions.append(f"({' OR '.join(either)})")
            values["text"] = escape_like(self.contains.lower())
        return conditions, values


EVERY_EXAMPLE = ExampleFilter()


@dataclass(frozen=True, kw_only=True)
class Example:
    """An example and its result. In lists texts are shortened and tokens left out."""

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
    words: Segmentation | None = None
    """The words of the tokens; None if they are not stored."""
    token_attribution: list[list[float]] | None = None
    """[site, key token]: attribution summed over the site's heads and queries."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or the two of a pair; none where texts are not kept."""
        return tuple(text for text in (self.text_a, self.text_b) if text is not None)

    def named_tokens(self, length: int) -> tuple[str, ...]:
        """Its tokens; so many positions where texts are not kept."""
        return self.tokens or tuple(map(numbered, range(length)))

    @property
    def wrong(self) -> bool:
        """True if there is a gold label that the prediction differs from."""
        return None not in (self.gold, self.predicted) and self.gold != self.predicted


def list_sites(database: Database, job_id: int) -> list[Site]:
    """List the job's sites; empty before its first shard is done."""
    return [Site(**row) for row in database.rows(SITES, job_id=job_id)]


def find_site(
    sites: Sequence[Site], job_id: int, layer: int, head: int, attention_type: str | None = None
) -> Site:
    """The site of a head of a job; encoder attention is meant where a model has it.

    Raises NotFoundError.
    """
    types = [site.attention_type for site in sites] or ["encoder"]
    chosen = attention_type or ("encoder" if "encoder" in types else types[0])
    for site in sites:
        if (site.layer, site.attention_type) == (layer, chosen) and head < site.heads:
            return site
    raise NotFoundError(f"Job {job_id} has no results for head {head_name(layer, head, chosen)}.")


def get_importance(database: Database, job_id: int) -> Importance:
    """Get head importance; while the job runs, from some of the blocks done so far."""
    final = [HeadImportance(**row) for row in database.rows(IMPORTANCE, job_id=job_id)]
    if final:
        return Importance(heads=final, provisional=False)
    with database.read() as tx:
        blocks = rankings.spread_blocks(tx, job_id)
        rows = tx.rows(SUMS, job_id=job_id, blocks=blocks)
    sums = [HeadSums(**{**row, "n": int(row["n"])}) for row in rows]
    return Importance(heads=head_importance(sums), provisional=True)


def get_completeness(database: Database, job_id: int, examples: int) -> list[SiteCompleteness]:
    """Get the completeness of every site, over evenly spaced examples."""
    with database.read() as tx:
        return digest.completeness(tx, job_id, examples)


def list_examples(
    database: Database,
    job_id: int,
    wanted: ExampleFilter = EVERY_EXAMPLE,
    *,
    after: int = -1,
    before: int | None = None,
    limit: int = 25,
) -> list[Example]:
    """List examples in order: the first ones after `after`, or the last ones before `before`."""
    conditions, values = wanted.conditions()
    number = "e.example_no" if wanted.contains else "r.example_no"
    conditions.append(f"{number} > :after")
    if before is not None:
        conditions.append(f"{number} < :before")
    source = _EXAMPLES_BY_TEXT if wanted.contains else _EXAMPLES
    order = "ASC" if before is None else "DESC"
    statement = (
        EXAMPLE_COLUMNS.format(texts=_SHORTENED)
        + f"{source} AND {' AND '.join(conditions)} ORDER BY {number} {order} LIMIT :limit"
    )
    place = {"after": after, "before": before, "limit": limit}
    found = [_example(row) for row in database.rows(statement, job_id=job_id, **values, **place)]
    return sorted(found, key=lambda example: example.example)


def get_example(database: Database, job_id: int, example: int) -> Example:
    """Get one example with its tokens. Raises NotFoundError."""
    whole = "e.text_a, e.text_b, r.tokens, r.word_index, r.token_spans, r.token_attribution"
    statement = EXAMPLE_COLUMNS.format(texts=whole) + _EXAMPLES + "AND r.example_no = :example"
    rows = database.rows(statement, job_id=job_id, example=example)
    if not rows:
        raise NotFoundError(f"Job {job_id} has no result for example {example}.")
    return _example(rows[0])


def get_confusion(
    database: Database, job_id: int, examples: int
) -> tuple[dict[tuple[int, int], int], bool]:
    """Count labelled examples by gold and predicted label; also tell whether all were counted."""
    with database.read() as tx:
        return digest.confusion(tx, job_id, examples)


def example_scores(database: Database, job_id: int, example: int) -> list[RowMapping]:
    """Get one example's values of every head: site, head, score, total, query, key, attention."""
    return database.rows(EXAMPLE_SCORES, job_id=job_id, example=example)


def example_head_tokens(
    database: Database, job_id: int, example: int, site: int, head: int
) -> list[float] | None:
    """Get the attribution of one example's key tokens by one head, [n]; None if it is not stored.

    Tokens of a long text that are not among the head's strongest are NaN.
    """
    packed = database.value(HEAD_TOKENS, job_id=job_id, example=example)
    return None if packed is None else unpack_head(packed, site, head)


def example_sites(database: Database, job_id: int, example: int) -> list[RowMapping]:
    """Get one example's completeness: site, f0, f1, residual, points, converged."""
    return database.rows(EXAMPLE_SITES, job_id=job_id, example=example)


def example_edges(database: Database, job_id: int, example: int) -> list[RowMapping]:
    """Get the strongest cells of one example."""
    return database.rows(EXAMPLE_EDGES, job_id=job_id, example=example)


def head_scores(
    database: Database, job_id: int, site: int, head: int, examples: int
) -> list[float]:
    """Get the scores of one head over evenly spaced examples."""
    with database.read() as tx:
        sample = digest.score_sample(tx, job_id, examples)
    scores: list[float] = sample.scores[:, site, head].tolist()
    return scores


def strongest_examples(
    database: Database, job_id: int, site: int, head: int, examples: int
) -> tuple[list[RowMapping], int]:
    """Get the examples with the head's highest scores, and how many examples were searched."""
    with database.read() as tx:
        found, searched = digest.strongest(tx, job_id, site, head, examples)
        place = {"job_id": job_id, "site": site, "head": head}
        return tx.rows(STRONG_EXAMPLES, **place, examples=found), searched


def frequent_pairs(
    database: Database, job_id: int, site: int, head: int, examples: int, limit: int = 20
) -> list[RowMapping]:
    """Get the head's most frequent token pairs among the strongest cells of sampled examples."""
    picked = digest.picked(examples, PAIRED)
    return database.rows(PAIRS, job_id=job_id, site=site, head=head, limit=limit, **picked)


def alike_examples(
    database: Database, job_id: int, example: int, examples: int
) -> list[tuple[int, float]]:
    """Find the examples with the most similar head scores (cosine) among evenly spaced ones."""
    with database.read() as tx:
        sample = digest.score_sample(tx, job_id, examples)
    own = np.zeros(sample.scores.shape[1:])
    for row in example_scores(database, job_id, example):
        own[row["site"], row["head"]] = row["score"]
    others = np.nan_to_num(sample.scores)
    dots = (others * own).sum((1, 2))
    sizes = np.linalg.norm(own) * np.sqrt((others**2).sum((1, 2), dtype=float))
    found = [
        (number, dot / size)
        for number, dot, size in zip(
            sample.examples.tolist(), dots.tolist(), sizes.tolist(), strict=True
        )
        if size and number != example
    ]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:ALIKE]


def parse_list(stored: str | None) -> list[Any]:
    """Decode a stored JSON array; empty if nothing is stored."""
    return list(json.loads(stored)) if stored else []


def _example(row: RowMapping) -> Example:
    values = dict(row)
    for name in ("probabilities", "tokens", "token_attribution"):
        if values.get(name) is not None:
            values[name] = json.loads(values[name])
    tokens = values.pop("tokens", None)
    words = from_columns(values.pop("word_index", None), values.pop("token_spans", None))
    if values["text_a"] is None:
        words = None  # the texts are being purged
    return Example(
        example=values.pop("example_no"),
        probabilities=tuple(values.pop("probabilities") or ()),
        truncated=bool(values.pop("truncated")),
        tokens=None if tokens is None else tuple(tokens),
        words=words,
        **values,
    )


def read_interactions(database: Database, job_id: int, example: int) -> Interactions | None:
    """Read the strongest cells of an example; None if it failed or its job stored none."""
    stored = database.value(INTERACTIONS, job_id=job_id, example=example)
    return None if stored is None else Interactions.from_json(stored)
