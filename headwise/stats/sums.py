"""Sums of masked evaluations, mergeable over shards, and accuracy, loss and macro F1 from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwise.stats.exact import on_grid
from headwise.stats.shares import Z95, Estimate, share

Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]

_LOSS_UNIT, _SQUARE_UNIT = -30, -24
# Much finer than float32 logits, and coarse enough for exact sums over 10^6 examples.


@dataclass(frozen=True, kw_only=True)
class MaskSums:
    """Sums over examples for M masks and C classes; ``+`` merges shards of the same masks.

    Losses are rounded to 2^-30 and their squares to 2^-24, which makes the sums exact: they do not
    depend on how examples were divided into shards.

    loss_sum, loss_squares: of the cross-entropy and of its square, float64 [M]
    confusion: examples by gold and predicted class, int64 [M, C, C]
    failed: examples that are not counted, as their output is not finite, int64 [M]
    """

    loss_sum: Doubles
    loss_squares: Doubles
    confusion: Longs
    failed: Longs

    @classmethod
    def of(
        cls, loss: Doubles, predicted: NDArray[np.int32], gold: NDArray[np.int32], classes: int
    ) -> MaskSums:
        """The sums of examples: loss and predicted [M, E], -1 for a failed one; gold [E]."""
        good = predicted >= 0
        losses = np.where(good, loss, 0.0)
        cell = np.where(good, gold * classes + predicted, classes * classes)
        counts = [np.bincount(row, minlength=classes * classes + 1)[:-1] for row in cell]
        return cls(
            loss_sum=on_grid(losses, _LOSS_UNIT).sum(1),
            loss_squares=on_grid(losses**2, _SQUARE_UNIT).sum(1),
            confusion=np.array(counts, dtype=np.int64).reshape(-1, classes, classes),
            failed=(~good).sum(1),
        )

    def __add__(self, other: MaskSums) -> MaskSums:
        return MaskSums(
            loss_sum=self.loss_sum + other.loss_sum,
            loss_squares=self.loss_squares + other.loss_squares,
            confusion=self.confusion + other.confusion,
            failed=self.failed + other.failed,
        )

    def without_examples(self) -> MaskSums:
        """The sums of the same masks over no examples."""
        return MaskSums(**{name: np.zeros_like(value) for name, value in vars(self).items()})

    @property
    def n(self) -> Longs:
        """Examples counted, int64 [M]."""
        n: Longs = self.confusion.sum((1, 2))
        return n

    def accuracy(self) -> Estimate:
        """Share of correct predictions, with Wilson's score interval."""
        return share(np.trace(self.confusion, axis1=1, axis2=2), self.n)

    def loss(self) -> Estimate:
        """Mean cross-entropy, with the normal interval; no interval for a single example."""
        n = self._n()
        mean = self.loss_sum / n
        rest = np.maximum(self.loss_squares - n * mean**2, 0)
        variance = np.divide(rest, n - 1, out=np.full_like(mean, math.nan), where=n > 1)
        half = Z95 * np.sqrt(variance / n)
        return Estimate(mean, mean - half, mean + half)

    def macro_f1(self) -> Estimate:
        """Mean of the classes' F1, with the interval of the multivariate delta method.

        Takahashi, Yamamoto, Kuchiba, Koyama (2022), "Confidence interval for micro-averaged F1
        and macro-averaged F1 scores": the confusion matrix is multinomial, and the variance is
        that of the gradient of F1 under it. A class that is neither gold nor predicted anywhere
        does not count. The interval has no width where every prediction is right.
        """
        share = self.confusion / self._n()[:, None, None]
        right = np.diagonal(share, axis1=1, axis2=2)
        size = share.sum(2) + share.sum(1)  # [M, C]: gold and predicted
        occurs = size > 0
        safe = np.where(occurs, size, 1)
        classes = np.maximum(occurs.sum(1), 1)
        value = (2 * right / safe).sum(1) / classes
        fall = 2 * right / safe**2
        gradient = -(fall[:, :, None] + fall[:, None, :])
        gradient += (2 / safe)[:, :, None] * np.eye(share.shape[1])
        gradient /= classes[:, None, None]
        mean = (share * gradient).sum((1, 2))
        variance = (share * gradient**2).sum((1, 2)) - mean**2
        half = Z95 * np.sqrt(np.maximum(variance, 0) / self._n())
        return Estimate(value, np.maximum(value - half, 0), np.minimum(value + half, 1))

    def _n(self) -> Doubles:
        n = self.n.astype(np.float64)
        n[n == 0] = math.nan
        return n


def choose_step(sums: MaskSums, points: float) -> int:
    """Return the last mask whose accuracy is at most ``points`` below that of the first."""
    accuracy = sums.accuracy().value
    # A difference of exactly ``points`` passes, despite rounding.
    passing = np.nonzero(accuracy >= accuracy[0] - points / 100 - 1e-12)[0]
    return int(passing[-1]) if len(passing) else 0
