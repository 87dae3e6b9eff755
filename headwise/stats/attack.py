"""Counts of predictions before and after inserting triggers, mergeable over shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwise.stats.shares import Estimate, share

Ints = NDArray[np.integer]
Longs = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AttackSums:
    """Predictions for texts of C classes before and after inserting each of T triggers.

    ``+`` merges shards of the same triggers. Rates without examples are NaN.

    counts: examples by trigger, gold class, class predicted before and after, int64 [T, C, C, C]
    """

    counts: Longs

    @classmethod
    def of(cls, gold: Ints, before: Ints, after: Ints, classes: int) -> AttackSums:
        """Count the predictions of E examples.

        gold, before: [E]; after: [T, E]

        An example with -1 in one of them (no gold label, a failed example, a trigger that was not
        inserted) is not counted.
        """
        after = np.asarray(after)
        cell = (np.asarray(gold) * classes + before) * classes + after
        known = (np.asarray(gold) >= 0) & (np.asarray(before) >= 0) & (after >= 0)
        cell = np.where(known, cell, classes**3)
        counts = [np.bincount(row, minlength=classes**3 + 1)[:-1] for row in cell]
        return cls(counts=np.array(counts, dtype=np.int64).reshape(-1, *[classes] * 3))

    def __add__(self, other: AttackSums) -> AttackSums:
        return AttackSums(counts=self.counts + other.counts)

    @property
    def n(self) -> Longs:
        """Examples by trigger and gold class, [T, C]."""
        n: Longs = self.counts.sum((2, 3))
        return n

    @property
    def correct_before(self) -> Longs:
        """Of those, predicted correctly without the trigger, [T, C]."""
        return self._own(self.counts.sum(3))

    @property
    def correct_after(self) -> Longs:
        """Of all, predicted correctly with the trigger, [T, C]."""
        return self._own(self.counts.sum(2))

    @property
    def flips(self) -> Longs:
        """Of those correct before, the number by class predicted after, [T, C, C]; diagonal 0."""
        flips = self._own(self.counts)
        flips[:, np.arange(flips.shape[1]), np.arange(flips.shape[1])] = 0
        return flips

    def accuracy_before(self) -> Estimate:
        """Accuracy per gold class without the trigger, on the same examples, [T, C]."""
        return share(self.correct_before, self.n)

    def accuracy_after(self) -> Estimate:
        """Accuracy per gold class with the trigger, [T, C]."""
        return share(self.correct_after, self.n)

    def success(self) -> Estimate:
        """Share of the examples correct before that are wrong after, [T, C]."""
        return share(self.flips.sum(2), self.correct_before)

    def best(self, gold: int, k: int) -> list[int]:
        """Return the k triggers with the highest success rate against a class, best first.

        Ties go to the trigger that leaves fewer examples correct, then to the earlier one.
        Triggers without a correctly predicted example of the class are omitted.
        """
        success, after = self.success().value[:, gold], self.accuracy_after().value[:, gold]
        order = np.lexsort((after, -success))
        return [int(trigger) for trigger in order if not np.isnan(success[trigger])][:k]

    @staticmethod
    def _own(counts: Longs) -> Longs:
        """Counts [T, C, C, ...] where gold class and the next one are the same, [T, C, ...]."""
        classes = np.arange(counts.shape[1])
        own: Longs = counts[:, classes, classes]
        return own
