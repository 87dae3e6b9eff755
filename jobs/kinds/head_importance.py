"""Merging the sums of an attribution's blocks into head importance, in any order with the same
result."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: half-width of a 95 % interval in errors."""


@dataclass(frozen=True, kw_only=True)
class HeadSums:
    """The sums of one head over one block."""

    site: int
    head: int
    n: int
    score_sum: float
    score_squares: float
    total_sum: float
    absolute_total_sum: float
    attention_max_sum: float
    attention_mean_sum: float


SUM_NAMES = tuple(field.name for field in fields(HeadSums))[3:]


@dataclass(frozen=True, kw_only=True)
class HeadImportance:
    """The importance of one head (paper, section 4.2: the expectation of its score)."""

    site: int
    head: int
    rank: int
    n: int
    mean: float
    std: float | None
    """Sample standard deviation (n - 1); None for a single example."""
    low: float | None
    high: float | None
    mean_total: float
    mean_absolute_total: float
    mean_attention_max: float
    mean_attention_mean: float


def head_importance(blocks: Iterable[HeadSums]) -> list[HeadImportance]:
    """Merge sums into the importance of every head, ordered by site and head.

    math.fsum rounds each sum once, so equal blocks give identical bytes. The earlier head wins a
    tie in rank.
    """
    heads: dict[tuple[int, int], list[HeadSums]] = {}
    for sums in blocks:
        heads.setdefault((sums.site, sums.head), []).append(sums)
    merged = {place: _merge(parts) for place, parts in heads.items() if any(p.n for p in parts)}
    order = sorted(merged, key=lambda place: (-merged[place].mean, place))
    ranks = {place: rank for rank, place in enumerate(order, start=1)}
    return [replace(merged[place], rank=ranks[place]) for place in sorted(merged)]


def importance_hash(heads: Iterable[HeadImportance]) -> str:
    """SHA-256 of head importance, with numbers in full precision."""
    lines = (f"{h.site} {h.head} {h.n} {h.mean!r} {h.std!r} {h.mean_total!r}" for h in heads)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _merge(parts: list[HeadSums]) -> HeadImportance:
    n = sum(part.n for part in parts)
    mean = math.fsum(part.score_sum for part in parts) / n
    squares = math.fsum(part.score_squares for part in parts)
    std = math.sqrt(max(0.0, squares - n * mean * mean) / (n - 1)) if n > 1 else None
    half = None if std is None else Z95 * std / math.sqrt(n)
    return HeadImportance(
        site=parts[0].site,
        head=parts[0].head,
        rank=0,
        n=n,
        mean=mean,
        std=std,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        mean_total=math.fsum(part.total_sum for part in parts) / n,
        mean_absolute_total=math.fsum(part.absolute_total_sum for part in parts) / n,
        mean_attention_max=math.fsum(part.attention_max_sum for part in parts) / n,
        mean_attention_mean=math.fsum(part.attention_mean_sum for part in parts) / n,
    )
