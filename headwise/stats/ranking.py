"""Importance of heads from sums over examples: errors, ranks and bootstrap intervals of the ranks.

The intervals come from a Poisson bootstrap: instead of drawing examples, it gives each example an
independent Poisson(1) weight in each replicate (Chamandy, Muralidharan, Najmi, Naidu 2012,
"Estimating uncertainty for massive data streams"). The weights depend only on the seed and the
example number, and sums are kept in parts (``headwise.stats.exact``), so the sums of shards add up
exactly to those of the whole, however it was divided.

NaN in a mean or sum marks a head that the site does not have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwise.stats import exact

Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]

REPLICATES = 200
_CHUNK = 4096
_ROWS, _COLUMNS = 16, 144
"""Sizes of a matrix product that OpenBLAS computes in the calling thread. For larger ones it starts
threads, which spin while they wait, on the cores that a model computes on."""
# P(X <= k) for X of Poisson(1); larger k do not occur with 53-bit uniform numbers.
_POISSON = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(20)])


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importance of the H heads of S sites according to one source.

    source: the ranking source, such as ``attattr`` or ``taylor``
    n: number of examples
    mean, standard_error: float64 [S, H], NaN for heads that the site does not have; the error is
        NaN for a single example
    rank: 1 for the most important head, ties in order of site and head; int32 [S, H], -1 for
        heads that the site does not have
    rank_low, rank_high: the 95 % bootstrap interval of the rank, int32 [S, H]
    """

    source: str
    n: int
    mean: Doubles
    standard_error: Doubles
    rank: Ints
    rank_low: Ints
    rank_high: Ints


@dataclass(frozen=True, kw_only=True)
class ImportanceSums:
    """Sums over examples of their values [S, H]; ``+`` merges shards.

    n: examples counted; total, squares: sums in parts, float64 [P, S, H]
    weights [B], replicates [P, B, S, H]: see ``bootstrap_sums``
    """

    n: int
    total: Doubles
    squares: Doubles
    weights: Doubles
    replicates: Doubles

    @classmethod
    def of(
        cls,
        values: NDArray[np.floating[Any]],
        example_numbers: NDArray[np.integer[Any]],
        *,
        replicates: int = REPLICATES,
        seed: int = 0,
    ) -> ImportanceSums:
        """The sums of some examples' values [E, S, H]; a failed example is NaN throughout."""
        good = ~np.isnan(values).all((1, 2))
        values = values[good].astype(np.float64)
        weights, sums = bootstrap_sums(values, example_numbers[good], replicates, seed)
        return cls(
            n=len(values),
            total=_added(values),
            squares=_added(values**2),
            weights=weights,
            replicates=sums,
        )

    def __add__(self, other: ImportanceSums) -> ImportanceSums:
        return ImportanceSums(
            n=self.n + other.n,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            weights=self.weights + other.weights,
            replicates=self.replicates + other.replicates,
        )

    def importance(self, source: str) -> Importance:
        """Return the importance from these sums. Raises ValueError if there are no examples."""
        if not self.n:
            raise ValueError("importance needs at least one example that has not failed")
        mean = exact.total(self.total) / self.n
        error = np.full_like(mean, math.nan)
        if self.n > 1:
            rest = exact.total(self.squares) - self.n * mean**2
            variance = np.maximum(rest, 0) / (self.n - 1)
            error = np.sqrt(variance / self.n)
        low, high = ranks_of(exact.total(self.replicates))
        return Importance(
            source=source,
            n=self.n,
            mean=mean,
            standard_error=error,
            rank=ranks(mean[None])[0],
            rank_low=low,
            rank_high=high,
        )


def bootstrap_weights(
    example_numbers: NDArray[np.integer[Any]], replicates: int = REPLICATES, seed: int = 0
) -> Doubles:
    """Poisson(1) weights [E, B] of examples.

    They come from Philox, a counter-based generator (Salmon et al. 2011): the key is the seed, the
    counter the example's number. Only raw bits are used, which NumPy guarantees never to change.
    """
    return _weights(np.asarray(example_numbers, np.int64).tobytes(), replicates, seed).astype(float)


@lru_cache(maxsize=8)
def _weights(example_numbers: bytes, replicates: int, seed: int) -> NDArray[np.uint8]:
    """Cache the weights, because all sources of a shard use those of the same examples."""
    numbers = np.frombuffer(example_numbers, dtype=np.int64)
    bits = np.empty((len(numbers), replicates), dtype=np.uint64)
    for row, number in enumerate(numbers):
        generator = np.random.Philox(key=seed, counter=[0, int(number), 0, 0])
        bits[row] = generator.random_raw(replicates)
    uniform = (bits >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(_POISSON, uniform, side="right").astype(np.uint8)


def bootstrap_sums(
    values: NDArray[np.floating[Any]],
    example_numbers: NDArray[np.integer[Any]],
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[Doubles, Doubles]:
    """Return sums of weights [B] and, in parts, of weighted values [P, B, S, H].

    values: [E, S, H]; example_numbers: [E], each example's number in the whole data
    """
    weights = np.zeros(replicates)
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    sums = np.zeros((len(exact.NARROW), replicates, flat.shape[1]))
    for start in range(0, len(flat), _CHUNK):
        each = bootstrap_weights(example_numbers[start : start + _CHUNK], replicates, seed)
        weights += each.sum(0)
        parts = exact.split(flat[start : start + _CHUNK], exact.NARROW)
        for sum_, part in zip(sums, parts, strict=True):
            _add_product(sum_, each, part)
    return weights, sums.reshape(len(sums), replicates, *values.shape[1:])


def _add_product(sums: Doubles, weights: Doubles, values: Doubles) -> None:
    """Add weights [E, B] times values [E, K] to sums [B, K], in small pieces.

    Weights are small integers, so the sums are exact in any order.
    """
    for row in range(0, len(values), _ROWS):
        few = weights[row : row + _ROWS].T
        for column in range(0, values.shape[1], _COLUMNS):
            piece = slice(column, column + _COLUMNS)
            sums[:, piece] += few @ values[row : row + _ROWS, piece]


def _added(values: NDArray[np.floating[Any]]) -> Doubles:
    """The sum over the first axis, in parts."""
    found = np.zeros((len(exact.WIDE), *values.shape[1:]))
    for start in range(0, len(values), _CHUNK):
        found += exact.split(values[start : start + _CHUNK]).sum(1)
    return found


def ranks(means: NDArray[np.floating[Any]]) -> Ints:
    """Ranks of [B, S, H], 1 for the largest, ties in order of site and head; -1 where NaN."""
    flat = means.reshape(len(means), -1)
    order = np.argsort(-flat, axis=1, kind="stable")  # NaN comes last
    found = np.empty(flat.shape, dtype=np.int32)
    np.put_along_axis(found, order, np.arange(1, flat.shape[1] + 1, dtype=np.int32)[None], axis=1)
    found[np.isnan(flat)] = -1
    return found.reshape(means.shape)


def ranks_of(sums: Doubles) -> tuple[Ints, Ints]:
    """Return the lower and upper ends [S, H] of the 95 % intervals of ranks, from [B, S, H] sums.

    The ends are percentiles of the replicates' ranks, rounded outwards. All heads of a replicate
    have the same weights, so ranking sums is equivalent to ranking means.
    """
    each = ranks(sums)
    low = np.percentile(each, 2.5, axis=0, method="lower")
    high = np.percentile(each, 97.5, axis=0, method="higher")
    return low.astype(np.int32), high.astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Correlations of two importances over n heads; NaN where one of them is constant."""

    pearson: float
    spearman: float
    n: int


def correlation(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> Correlation:
    """Pearson's and Spearman's correlations of two means [S, H] over the heads present in both.

    Raises ValueError for means of different shape.
    """
    if a.shape != b.shape:
        raise ValueError(f"importances of shapes {a.shape} and {b.shape} cannot be compared")
    both = ~(np.isnan(a) | np.isnan(b))
    one, other = a[both].astype(np.float64), b[both].astype(np.float64)
    return Correlation(
        pearson=_pearson(one, other),
        spearman=_pearson(_average_ranks(one), _average_ranks(other)),
        n=len(one),
    )


def _pearson(a: Doubles, b: Doubles) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _average_ranks(values: Doubles) -> Doubles:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: Doubles = last - (counts - 1) / 2
    return means[index]
