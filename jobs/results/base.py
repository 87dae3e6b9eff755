"""Results of every kind: the numbers of one shard, and the rankings of heads by them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from headwise.segmentation import Segmentation
from headwise.stats.shares import Z95

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SiteInfo:
    """One attention module of the model."""

    layer: int
    attention_type: str
    heads: int
    name: str


@dataclass(frozen=True, kw_only=True)
class ExampleResult:
    """The values stored once per example. A failed example has only its `error`."""

    predicted: int | None = None
    target: int | None = None
    probabilities: tuple[float, ...] = ()
    tokens: tuple[str, ...] | None = None
    words: Segmentation | None = None
    """The words of the tokens; None if the tokenizer reports no offsets."""
    word_texts: tuple[str, ...] = ()
    """The words as written."""
    token_attribution: str | None = None
    """Attribution summed over each site's heads and queries, [site, key token]: JSON of
    `jobs.results.site_tokens`."""
    head_token_attribution: bytes | None = None
    """The same by head, [site, head, key token], packed by `jobs.results.head_tokens`."""
    interactions: str | None = None
    """The cells for the example's attribution tree: JSON of `headwise.trees.Interactions`."""
    truncated: bool = False
    error: str | None = None

    def word(self, position: int) -> str | None:
        """Return the word of a token; None for special tokens and where words are unknown."""
        if self.words is None or self.words.spans[position] is None:
            return None
        return self.word_texts[self.words.word_index[position]]


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

    def picked(self, rows: Sequence[int]) -> Self:
        """The results of some examples, by their places, in that order."""
        names = [field.name for field in fields(self)]
        return type(self)(**{name: self.pick(name, getattr(self, name), rows) for name in names})

    def divided(self, counts: Sequence[int]) -> list[Self]:
        """The results of consecutive parts of the examples, which `joined` makes this of again.

        A kind with sums over examples overrides it: the sums of each example belong to one part.
        """
        ends = list(accumulate(counts))
        return [self.picked(range(e - n, e)) for n, e in zip(counts, ends, strict=True)]

    @classmethod
    def pick(cls, name: str, value: Any, rows: Sequence[int]) -> Any:
        """One field of `picked`. A kind overrides it as `join`; sums over examples stay whole."""
        if name == "examples":
            return tuple(value[row] for row in rows)
        return value[list(rows)] if isinstance(value, np.ndarray) else value

    @classmethod
    def join(cls, name: str, values: Sequence[Any]) -> Any:
        """One field of `joined`. A kind overrides it for fields that are not arrays [E, ...]."""
        if name == "examples":
            return tuple(example for part in values for example in part)
        return np.concatenate(values) if isinstance(values[0], np.ndarray) else values[0]


@dataclass(frozen=True, kw_only=True)
class HeadRank:
    """The rank of a head by one source of importance."""

    source: str
    site: int
    head: int
    n: int
    mean: float
    standard_error: float | None
    """Of the mean; None for a single example."""
    rank: int
    """1 is the most important head; the earlier head wins a tie."""
    rank_low: int | None
    rank_high: int | None
    """Limits of the rank's 95 % bootstrap interval."""

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The ends of the 95 % interval of the mean; None for a single example."""
        if self.standard_error is None:
            return None, None
        half = Z95 * self.standard_error
        return self.mean - half, self.mean + half


def ranking_hash(heads: Iterable[HeadRank]) -> str:
    """SHA-256 of rankings, with numbers in full precision."""
    lines = (
        f"{h.source} {h.site} {h.head} {h.n} {h.mean!r} {h.standard_error!r} {h.rank_low} "
        f"{h.rank_high}"
        for h in heads
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
