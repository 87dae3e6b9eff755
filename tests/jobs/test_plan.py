"""Cutting jobs into shards, and what is estimated beforehand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.plan import (
    MAX_SHARD_EXAMPLES,
    RATE_WINDOW,
    Rate,
    block_size,
    blocks,
    estimate,
    first_ranges,
    guess,
    halves,
    recent_rate,
    take,
)


@settings(max_examples=200, deadline=None)
@given(examples=st.integers(1, 100_000), block=st.integers(1, 256), workers=st.integers(0, 300))
def test_ranges_cover_every_example_once_in_whole_blocks(
    examples: int, block: int, workers: int
) -> None:
    bounds = first_ranges(examples, block, workers)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == examples
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    assert all(lo < hi and lo % block == 0 for lo, hi in bounds)
    assert len(bounds) <= max(1, workers)


@settings(max_examples=200, deadline=None)
@given(lo=st.integers(0, 1000), size=st.integers(1, 1000), block=st.integers(0, 256))
def test_blocks_cover_a_range_and_end_where_those_of_the_whole_do(
    lo: int, size: int, block: int
) -> None:
    found = list(blocks(lo, lo + size, block))
    assert (found[0][0], found[-1][1]) == (lo, lo + size)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    assert all(block and end % block == 0 for _, end in found[:-1])


@settings(max_examples=200, deadline=None)
@given(lo=st.integers(0, 1000), size=st.integers(2, 1000), block=st.integers(1, 256))
def test_halves_are_split_between_blocks_while_there_are_several(
    lo: int, size: int, block: int
) -> None:
    hi = lo + size
    middle = halves(lo, hi, block)
    assert lo < middle < hi
    assert middle % block == 0 or (lo // block == (hi - 1) // block)


@settings(max_examples=200, deadline=None)
@given(
    left=st.integers(1, 10_000_000),
    block=st.integers(1, 256),
    pace=st.none() | st.floats(0, 1e4),
    seconds=st.floats(0.1, 3600),
    workers=st.integers(0, 1000),
)
def test_a_worker_takes_whole_blocks_within_its_limits(
    left: int, block: int, pace: float | None, seconds: float, workers: int
) -> None:
    count = take(left=left, block=block, pace=pace, seconds=seconds, workers=workers)
    assert count >= block
    assert count % block == 0
    if count > block:
        assert pace is not None
        assert count * pace <= seconds * (1 + 1e-9)
        assert count <= min(MAX_SHARD_EXAMPLES, left / (2 * max(1, workers)))


@pytest.mark.parametrize(
    ("examples", "seconds", "layers", "expected"),
    [
        (10_000, 0.25, 6, 128),  # 60 s on two CPU cores, by the guess: 240, so 128
        (10_000, 0.015, 6, 256),
        (10_000, 0.25, 12, 32),  # deeper models are wider, too
        (10_000, 1000.0, 6, 1),
        (200, 0.25, 6, 16),  # about 16 blocks, for several workers
        (3, 0.25, 6, 8),
    ],
)
def test_the_size_of_a_block(examples: int, seconds: float, layers: int, expected: int) -> None:
    assert block_size(examples, seconds, layers) == expected


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


NOW = 10_000.0
SINCE = NOW - RATE_WINDOW


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        pytest.param([], None, id="none"),
        pytest.param([(NOW - 10, None, 40)], 4.0, id="one that runs"),
        pytest.param([(NOW - 10, None, None)], None, id="one without examples yet"),
        pytest.param([(NOW, None, 5)], None, id="one that starts now"),
        pytest.param([(NOW - 20, NOW - 10, 40)], 2.0, id="idle since"),
        pytest.param([(NOW - 20, NOW - 10, 40), (NOW - 10, None, 10)], 2.5, id="one after another"),
        pytest.param([(NOW - 10, None, 40), (NOW - 10, None, 20)], 6.0, id="two at once"),
        pytest.param(
            [(SINCE - RATE_WINDOW, NOW, 600)], 300 / RATE_WINDOW, id="half of it in the window"
        ),
        pytest.param([(SINCE - 20, SINCE - 10, 40)], None, id="before the window"),
        pytest.param(
            [(SINCE - 20, SINCE, 40), (NOW - 10, None, 30)], 30 / RATE_WINDOW, id="ends at its edge"
        ),
    ],
)
def test_the_recent_rate(
    attempts: list[tuple[float, float | None, int | None]], expected: float | None
) -> None:
    assert recent_rate(attempts, NOW) == (None if expected is None else pytest.approx(expected))
