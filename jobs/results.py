"""What a worker hands to the store: the numbers of one shard, and its sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SiteInfo:
    """One attention module of the model."""

    layer: int
    kind: str
    heads: int
    name: str


@dataclass(frozen=True, kw_only=True)
class ExampleResult:
    """What is stored once per example. A failed example has only its `error`."""

    predicted: int | None = None
    target: int | None = None
    probabilities: tuple[float, ...] = ()
    tokens: tuple[str, ...] | None = None
    token_attribution: list[list[float]] | None = None
    """[site, key token]: attribution summed over the site's heads and queries."""
    interactions: str | None = None
    """What the example's attribution tree is built from, see `trees.Interactions`; JSON."""
    truncated: bool = False
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """The results of the examples lo .. hi - 1 of a job: what every kind's have.

    E examples, S sites, H heads; rows of failed examples are NaN (or -1) and are not stored.
    """

    sites: tuple[SiteInfo, ...]
    examples: tuple[ExampleResult, ...]

    @property
    def ok(self) -> Bools:
        """[E] the examples that did not fail."""
        return np.array([example.error is None for example in self.examples], dtype=bool)

    @property
    def ranked(self) -> dict[str, Floats]:
        """By source, [E, S, H]: the values whose means rank the heads."""
        return {}

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The results of neighbouring ranges of examples as those of one."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in fields(cls)]
        return cls(
            **{name: cls.join(name, [getattr(part, name) for part in parts]) for name in names}
        )

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """One field of `joined`. A kind overrides it for fields that are not arrays [E, ...]."""
        if name == "examples":
            return tuple(example for part in values for example in part)
        return np.concatenate(values) if isinstance(values[0], np.ndarray) else values[0]


@dataclass(frozen=True, kw_only=True)
class ImportanceResult(ShardResult):
    """Importance of heads per example, by Taylor expansion or leaving one head out."""

    values: dict[str, Floats]
    """By source, [E, S, H]; heads that a site does not have are NaN."""

    @property
    def ranked(self) -> dict[str, Floats]:
        """The values themselves."""
        return self.values

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """Values by source."""
        if name == "values":
            return {source: np.concatenate([v[source] for v in values]) for source in values[0]}
        return super().join(name, values)


@dataclass(frozen=True, kw_only=True)
class AttributionResult(ShardResult):
    """Attribution of every head on every example; k edges."""

    score: Floats
    """[E, S, H] largest cell of the head's attribution."""
    total: Floats
    """[E, S, H] sum of the head's attribution."""
    query: Ints
    """[E, S, H] query position of the largest cell."""
    key: Ints
    """[E, S, H] key position of the largest cell."""
    attention_max: Floats
    """[E, S, H] largest attention probability."""
    attention_mean: Floats
    """[E, S, H] mean over queries of the row's largest attention probability."""
    f0: Floats
    """[E, S] target at zero attention."""
    f1: Floats
    """[E, S] target of the whole model."""
    residual: Floats
    """[E, S] completeness residual."""
    points: Ints
    """[E, S] integration points used."""
    converged: Bools
    """[E, S] whether the estimated error met the tolerance."""
    edge_site: Ints
    """[E, k] site of the strongest cells, -1 where there are fewer than k."""
    edge_head: Ints
    edge_query: Ints
    edge_key: Ints
    edge_value: Floats
    edge_attention: Floats

    @property
    def ranked(self) -> dict[str, Floats]:
        """Named as in `jobs.spec.ATTRIBUTION_SOURCES`."""
        return {
            "attattr": self.score,
            "attattr-total": self.total,
            "attattr-absolute-total": np.abs(self.total),
            "attention": self.attention_max,
        }


SUM_NAMES = (
    "score_sum",
    "score_squares",
    "total_sum",
    "absolute_total_sum",
    "attention_max_sum",
    "attention_mean_sum",
)


def shard_sums(
    result: AttributionResult, start: int = 0, stop: int | None = None
) -> tuple[int, NDArray[np.float64]]:
    """Of the examples start .. stop - 1 of a shard: how many are counted, and their sums.

    The sums are float64 [6, S, H], in the order of SUM_NAMES.
    """
    ok = result.ok[start:stop]
    columns = [
        np.asarray(values[start:stop], dtype=np.float64)[ok]
        for values in (result.score, result.total, result.attention_max, result.attention_mean)
    ]
    score, total, attention_max, attention_mean = columns
    parts = (score, score**2, total, np.abs(total), attention_max, attention_mean)
    return int(ok.sum()), np.stack([part.sum(axis=0) for part in parts])
