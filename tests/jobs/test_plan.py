"""Cutting jobs into shards, and what is estimated beforehand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.plan import (
    MAX_SHARD_EXAMPLES,
    Rate,
    estimate,
    guess,
    shard_bounds,
    shard_size,
)


@settings(max_examples=200, deadline=None)
@given(examples=st.integers(1, 100_000), size=st.integers(1, 20_000))
def test_shards_cover_every_example_once_in_sizes_that_differ_by_one_at_most(
    examples: int, size: int
) -> None:
    bounds = shard_bounds(examples, size)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == examples
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    sizes = {hi - lo for lo, hi in bounds}
    assert min(sizes) >= 1
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=100, deadline=None)
@given(
    examples=st.integers(1, 10_000_000),
    pace=st.floats(0, 1e4),
    seconds=st.floats(0.1, 3600),
    workers=st.integers(0, 1000),
)
def test_a_shard_is_never_empty_nor_larger_than_its_limits(
    examples: int, pace: float, seconds: float, workers: int
) -> None:
    size = shard_size(examples, pace, seconds, workers)
    assert 1 <= size <= min(examples, MAX_SHARD_EXAMPLES)
    assert size * pace <= max(seconds, pace) * (1 + 1e-9)
    assert size * max(1, workers) < examples + max(1, workers)


@pytest.mark.parametrize(
    ("examples", "pace", "workers", "expected"),
    [
        (1000, 0.25, 1, 240),  # by time: 60 s
        (100, 0.25, 4, 25),  # a share for every worker
        (10_000_000, 0.0, 1, MAX_SHARD_EXAMPLES),
        (5, 1000.0, 1, 1),
    ],
)
def test_the_size_of_a_shard(examples: int, pace: float, workers: int, expected: int) -> None:
    assert shard_size(examples, pace, 60.0, workers) == expected


def test_an_estimate_from_a_measured_rate() -> None:
    rate = Rate(seconds_per_unit=0.25, basis="measured on 100 examples")
    found = estimate(1000, rate, cost=2.0, shard_seconds=60.0, workers=2)
    assert (found.examples, found.shards, found.seconds) == (1000, 9, 250.0)
    assert found.basis == rate.basis


def test_an_estimate_without_workers_counts_one() -> None:
    rate = Rate(seconds_per_unit=0.5, basis="")
    assert estimate(10, rate, 1.0, 60.0, 0).seconds == 5.0


def test_an_estimate_before_anything_was_measured_names_no_time() -> None:
    found = estimate(1000, guess(0.25), cost=2.0, shard_seconds=60.0, workers=1)
    assert found.seconds is None
    assert found.shards == -(-1000 // int(60 / 0.5))
    assert "nothing measured yet" in found.basis
