"""One head, and comparisons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from headwise.trees import FLOOR, ROOT, TAU, TAU_LAST, Node
from webui.api.models.jobs import MAX_ID
from webui.api.models.results import HeadAnswer, Placed
from webui.contract.models import Answer, Page, Query

AttentionType = Literal["encoder", "decoder", "cross"]
Source = Annotated[str, StringConstraints(max_length=100)]


class HeadQuery(Query):
    """The one of the heads of this layer and number."""

    attention_type: AttentionType | None = Field(
        default=None, description="Default: encoder where the model has one."
    )


class StrongExample(Answer):
    """An example where a head is strong."""

    example: int
    score: float
    total: float
    query: int
    key: int
    predicted: int | None
    gold: int | None
    text_a: str | None
    text_b: str | None


class MatrixAnswer(Answer):
    """A head's whole matrices on an example; rows read columns."""

    head: str
    """Its name: `L3 H7`."""
    state: Literal["absent", "computing", "failed", "stored"]
    job: int | None
    """The job that computed them, or is about to."""
    message: str | None
    """The reason the computation failed."""
    tokens: tuple[str, ...] | None
    """Null where texts are not kept."""
    attention: list[list[float]] | None
    """Probabilities by query and key token; null until they are stored."""
    attribution: list[list[float]] | None
    """The share of the output that each cell adds."""


class WordPair(Answer):
    """Two words of which one often reads the other in a head's strongest cells."""

    query_word: str | None
    key_word: str | None
    n: int
    attribution: float
    attention: float


class OneHeadAnswer(Answer):
    """One head."""

    head: HeadAnswer | None
    """Its importance; null before its first shard is done."""
    heads: int
    """Heads in all."""
    provisional: bool
    """True while shards are missing."""
    scores: list[float]
    """Its score in evenly spaced examples."""
    strongest: list[StrongExample]
    searched: int
    """Examples that the strongest were searched among."""
    pairs: list[WordPair]


class SiteCompletenessAnswer(Placed):
    """Completeness of a site over sampled examples."""

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
    """Quantiles of |residual|."""


class AllCompletenessAnswer(Answer):
    """Completeness by site."""

    completeness: list[SiteCompletenessAnswer]


class ConfusionCell(Answer):
    """Labelled examples with one gold and one predicted label."""

    gold: int
    predicted: int
    n: int


class ConfusionAnswer(Answer):
    """Predictions by gold label."""

    confusion: list[ConfusionCell]
    counted_all: bool
    """False where only evenly spaced examples were counted."""


class CorrelationQuery(Query):
    """The two rankings to compare."""

    source: Source = Field(default="", description="A ranking of the job. Default: its first.")
    job: int | None = Field(
        default=None, ge=1, le=MAX_ID, description="The other job. Default: this one."
    )
    by: Source = Field(description="A ranking of the other job.")


class CorrelationPoint(Answer):
    """A head in both rankings."""

    name: str
    one: float
    """Its mean in the job's ranking."""
    other: float


class CorrelationAnswer(Answer):
    """Agreement of two rankings of heads."""

    source: str
    other_job: int
    other_source: str
    n: int
    """Heads that both rank."""
    pearson: float | None
    spearman: float | None
    points: list[CorrelationPoint]


class AlikeExample(Answer):
    """An example whose head scores are like those of another one."""

    example: int
    similarity: float
    """Cosine."""


class AlikeAnswer(Answer):
    """The most similar examples, of evenly spaced ones."""

    alike: list[AlikeExample]


class HeadTokensAnswer(Answer):
    """Attributions of the tokens of an example to a head."""

    attribution: list[float | None] | None
    """By token; null where it is not stored, and in all where no such values are."""


class TreeQuery(Query):
    """Options of an attribution tree."""

    root: str = Field(
        default=ROOT,
        max_length=20,
        description="outgoing, classifier, or the position of a token.",
    )
    tau: float = Field(
        default=TAU, ge=FLOOR, le=1, description="Share of the largest cell that an edge needs."
    )
    tau_last: float = Field(default=TAU_LAST, ge=0, le=1, description="The same in the last layer.")


class StoredMatrixAnswer(Answer):
    """A head and an example whose matrices are stored."""

    example: int
    name: str
    """Of the head, as the figure `matrix` takes it."""
    layer: int
    attention_type: str
    head: int


class MatrixPage(Page):
    """Stored matrices, by example, layer and head."""

    matrices: list[StoredMatrixAnswer]


class TreeAnswer(Answer):
    """An attribution tree; the root is the first node."""

    root: str | int
    tau: float
    tau_last: float
    nodes: tuple[Node, ...]
