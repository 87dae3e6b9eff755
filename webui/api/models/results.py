"""Results: heads, rankings and examples."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from db.reads.results import ONLY
from webui.api.models.jobs import MAX_ID, Text
from webui.contract.models import DEPRECATED, Answer, Page, PageQuery


class ExampleQuery(PageQuery):
    """The examples to list."""

    only: Literal[tuple(ONLY)] | None = Field(  # type: ignore[valid-type]
        default=None, description="Only wrongly or rightly predicted, failed or truncated ones."
    )
    gold: int | None = Field(default=None, ge=0, le=MAX_ID, description="Index of the gold label.")
    predicted: int | None = Field(
        default=None, ge=0, le=MAX_ID, description="Index of the predicted label."
    )
    q: Text = Field(default="", description="Only examples with this in a text.")
    after: int | None = Field(
        default=None,
        ge=-1,
        le=MAX_ID,
        json_schema_extra=DEPRECATED,
        description="Use `next` of an answer.",
    )


class Placed(Answer):
    """A row of a site: an attention module of the model."""

    layer: int
    attention_type: str
    """`encoder`, `decoder` or `cross`."""
    kind: str = Field(json_schema_extra=DEPRECATED)
    """The earlier name of `attention_type`."""
    site: int


class HeadAnswer(Placed):
    """The importance of a head."""

    head: int
    rank: int
    n: int
    """Examples."""
    mean: float
    """Mean attribution score: of the largest cell of the head's matrix."""
    std: float | None
    low: float | None
    high: float | None
    """Ends of the 95 % interval of the mean."""
    mean_total: float
    """Mean of the sum over the head's cells."""
    mean_absolute_total: float
    mean_attention_max: float
    """Mean of the largest attention probability."""
    mean_attention_mean: float
    """Mean of the rows' largest attention probability."""


class HeadPage(Page):
    """Head importance by rank."""

    heads: list[HeadAnswer]
    total: int
    """Heads on all pages."""
    provisional: bool
    """True while shards are missing."""


class RankAnswer(Placed):
    """The place of a head in a ranking."""

    source: str
    """The source of the ranking."""
    head: int
    n: int
    mean: float
    standard_error: float | None
    rank: int
    rank_low: int | None
    rank_high: int | None
    """Ends of the 95 % bootstrap interval of the rank; null while provisional."""


class RankingQuery(PageQuery):
    """Rankings to list."""

    source: Text = Field(default="", description="Only the ranking by this source.")


class RankingPage(Page):
    """Places of heads in rankings, by source and rank."""

    rankings: list[RankAnswer]
    total: int
    """Places on all pages."""
    provisional: bool
    """True while shards are missing."""


class ExampleRowAnswer(Answer):
    """An example and its prediction. Labels are indices, and names in the fields `*_label`."""

    example: int
    source_row: int
    gold: int | None
    gold_label: str | None
    predicted: int | None
    predicted_label: str | None
    target: int | None
    target_label: str | None
    probabilities: tuple[float, ...]
    """By label; of a regression the outputs themselves."""
    truncated: bool
    error: str | None
    text_a: str | None
    text_b: str | None
    """Texts are shortened in lists, and null where they are not kept."""


class ExamplePage(Page):
    """Examples in order."""

    examples: list[ExampleRowAnswer]
    next_after: int | None = Field(json_schema_extra=DEPRECATED)
    """Use `next`."""


class ScoreAnswer(Placed):
    """The contribution of a head to the prediction of an example."""

    head: int
    score: float
    """Its largest cell."""
    total: float
    """The sum of its cells."""
    query: int
    key: int
    """Positions of the tokens of the largest cell."""
    attention_max: float
    attention_mean: float


class EdgeAnswer(Placed):
    """A strong cell of an example's attribution: a token that reads another one."""

    rank: int
    head: int
    query: int
    key: int
    query_token: str | None
    key_token: str | None
    attribution: float
    attention: float


class CompletenessAnswer(Placed):
    """Completeness of a site: the difference between its attribution's sum and what it explains."""

    f0: float
    f1: float
    residual: float
    points: int
    converged: bool


class ExampleAnswer(ExampleRowAnswer):
    """An example with its tokens, head scores, strongest pairs and completeness."""

    tokens: tuple[str, ...] | None
    word_index: tuple[int | None, ...] | None
    """The word that a token is a piece of; null for special tokens."""
    token_spans: tuple[tuple[int, int, int] | None, ...] | None
    """[text, start, end] of a token; null for special tokens."""
    token_attribution: list[list[float]] | None
    """[site][token]: what all heads of a site read of the token."""
    heads: list[ScoreAnswer]
    edges: list[EdgeAnswer]
    completeness: list[CompletenessAnswer]
