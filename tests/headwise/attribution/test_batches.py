"""The grouping of examples into batches."""

from __future__ import annotations

from itertools import chain, combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwise.attribution.batches import _BATCH_COST, batches
from headwise.attribution.evaluator import TokenBudget
from headwise.encoding import Encoded, from_arrays

BUDGET = 400


def of_lengths(lengths: list[int]) -> list[Encoded]:
    return from_arrays([{"input_ids": [1] * n} for n in lengths])


def time_of(groups: list[list[int]]) -> float:
    """The time that groups of lengths take, in tokens."""
    return sum(len(group) * max(group) + _BATCH_COST * BUDGET for group in groups)


def least_time(lengths: list[int], most: int) -> float:
    """The least that any grouping of sorted lengths takes."""
    ordered, count = sorted(lengths), len(lengths)
    found = []
    for cuts in range(count):
        for inner in combinations(range(1, count), cuts):
            groups = [ordered[a:b] for a, b in pairwise([0, *inner, count])]
            if all(len(g) <= min(most, max(1, BUDGET // (4 * g[-1]))) for g in groups):
                found.append(time_of(groups))
    return min(found)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=8), parallel=st.integers(1, 3))
def test_no_other_batches_of_sorted_examples_take_less_time(
    lengths: list[int], parallel: int
) -> None:
    found = batches(of_lengths(lengths), TokenBudget(BUDGET), parallel)
    assert sorted(chain.from_iterable(found)) == list(range(len(lengths)))
    groups = [[lengths[example] for example in batch] for batch in found]
    assert [max(group) for group in groups] == sorted(max(group) for group in groups)
    share = max(1, len(lengths) // parallel)
    assert all(len(g) <= min(share, max(1, BUDGET // (4 * max(g)))) for g in groups)
    assert time_of(groups) == pytest.approx(least_time(lengths, share))


def test_few_texts_of_many_lengths_are_padded_rather_than_computed_one_by_one() -> None:
    lengths = [10, 12, 14, 16]
    (batch,) = batches(of_lengths(lengths), TokenBudget(1024), 1)
    assert sorted(batch) == [0, 1, 2, 3]
    apart = batches(of_lengths([10, 60]), TokenBudget(1024), 1)
    assert apart == [[0], [1]]
