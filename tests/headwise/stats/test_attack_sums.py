"""Counts of the effects of triggers."""

from __future__ import annotations

import numpy as np
import pytest

from headwise.stats.attack import AttackSums

GOLD = np.array([0, 0, 0, 1, 1, -1])
BEFORE = np.array([0, 0, 1, 1, -1, 0])
AFTER = np.array([[1, 0, 0, 0, 1, 1], [2, -1, 1, 1, 1, 1]])


def test_counts_and_rates_by_hand() -> None:
    sums = AttackSums.of(GOLD, BEFORE, AFTER, 3)
    assert sums.n.tolist() == [[3, 1, 0], [2, 1, 0]]
    assert sums.correct_before.tolist() == [[2, 1, 0], [1, 1, 0]]
    assert sums.correct_after.tolist() == [[2, 0, 0], [0, 1, 0]]
    assert sums.flips.tolist() == [
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
    ]
    assert sums.counts[0, 0].tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(sums.success().value, [[0.5, 1, np.nan], [1, 0, np.nan]])
    np.testing.assert_allclose(sums.accuracy_before().value[0, :2], [2 / 3, 1])
    np.testing.assert_allclose(sums.accuracy_after().value[1, :2], [0, 1])


def test_shards_add_up_to_the_whole() -> None:
    parts = [AttackSums.of(GOLD[s], BEFORE[s], AFTER[:, s], 3) for s in (slice(2), slice(2, 6))]
    whole = AttackSums.of(GOLD, BEFORE, AFTER, 3)
    np.testing.assert_array_equal((parts[0] + parts[1]).counts, whole.counts)


@pytest.mark.parametrize(("gold", "k", "best"), [(0, 5, [1, 0]), (0, 1, [1]), (1, 2, [0, 1])])
def test_best(gold: int, k: int, best: list[int]) -> None:
    assert AttackSums.of(GOLD, BEFORE, AFTER, 3).best(gold, k) == best


def test_best_of_a_class_that_never_was_correct_is_none() -> None:
    assert AttackSums.of(GOLD, BEFORE, AFTER, 3).best(2, 3) == []


def test_ties_go_to_the_one_that_leaves_fewer_correct() -> None:
    gold, before = np.zeros(3, dtype=int), np.array([0, 0, 1])
    after = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 1]])
    assert AttackSums.of(gold, before, after, 2).best(0, 3) == [1, 2, 0]
