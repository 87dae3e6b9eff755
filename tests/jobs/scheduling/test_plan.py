"""Cutting jobs into shards, and what is estimated beforehand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.scheduling.estimates import Experience, Range
from jobs.scheduling.plan import (
    MAX_SHARD_EXAMPLES,
    Estimate,
    block_end,
    block_size,
    block_start,
    blocks,
    estimate,
    first_ranges,
    halves,
    take,
    taken_end,
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
    whole = {end for _, end in blocks(0, 3000, block)}
    assert all(end in whole for _, end in found[:-1])


@settings(max_examples=200, deadline=None)
@given(example=st.integers(0, 1000), block=st.integers(1, 256))
def test_an_example_is_in_the_block_that_starts_before_it(example: int, block: int) -> None:
    (own,) = [(lo, hi) for lo, hi in blocks(0, 2000, block) if lo <= example < hi]
    assert block_start(example, block) == own[0]
    assert block_end(own[0], 2000, block) == own[1]


@pytest.mark.parametrize(
    ("block", "ends"),
    [
        (64, [8, 64, 128, 192, 200]),
        (16, [8, *range(16, 200, 16), 200]),
        (4, [*range(4, 200, 4), 200]),
    ],
)
def test_the_first_block_of_a_job_is_small(block: int, ends: list[int]) -> None:
    assert [hi for _, hi in blocks(0, 200, block)] == ends


@pytest.mark.parametrize(
    ("lo", "count", "block", "end"),
    [
        (0, 640, 64, 8),  # the first results come soon
        (0, 64, 4, 4),
        (8, 64, 64, 64),
        (8, 128, 64, 128),
        (64, 64, 64, 128),
        (70, 64, 64, 128),  # a part of a block that raised an error
    ],
)
def test_a_shard_ends_where_a_block_does(lo: int, count: int, block: int, end: int) -> None:
    assert taken_end(lo, count, block) == end


@settings(max_examples=200, deadline=None)
@given(lo=st.integers(0, 1000), size=st.integers(2, 1000), block=st.integers(1, 256))
def test_halves_are_split_between_blocks_while_there_are_several(
    lo: int, size: int, block: int
) -> None:
    hi = lo + size
    middle = halves(lo, hi, block)
    assert lo < middle < hi
    assert middle == block_start(middle, block) or block_end(lo, hi, block) == hi


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
        assert count <= MAX_SHARD_EXAMPLES
        assert count < left + block if workers < 2 else count <= left / (2 * workers)


@pytest.mark.parametrize(
    ("workers", "pace", "count"),
    [
        (1, 0.1, 320),  # alone, all that is left, the last part of a block included
        (1, 0.5, 64),  # but no more than it computes in its time
        (2, 0.1, 64),  # half of its share, so that both end together
        (1, None, 64),
    ],
)
def test_how_much_a_worker_takes(workers: int, pace: float | None, count: int) -> None:
    assert take(left=280, block=64, pace=pace, seconds=60.0, workers=workers) == count


@pytest.mark.parametrize(
    ("examples", "seconds", "layers", "expected"),
    [
        (10_000, 0.25, 6, 256),  # 64 s on two CPU cores, by the guess
        (10_000, 0.3, 6, 128),
        (10_000, 0.015, 6, 256),
        (10_000, 0.25, 12, 64),  # deeper models are wider, too
        (10_000, 1000.0, 6, 1),
        (200, 0.25, 6, 32),  # about 8 blocks, for several workers
        (3, 0.25, 6, 8),
    ],
)
def test_the_size_of_a_block(examples: int, seconds: float, layers: int, expected: int) -> None:
    assert block_size(examples, seconds, layers) == expected


def estimated(found: Experience | None, workers: int, examples: int = 1000) -> Estimate:
    return estimate(
        examples, found, cost=2.0, unit_seconds=0.25, shard_seconds=60.0, workers=workers
    )


SEEN = Experience(
    unit=Range(low=0.2, middle=0.25, high=0.4), start_seconds=10.0, jobs=12, alike="this shape"
)


def test_an_estimate_from_jobs_like_it() -> None:
    found = estimated(SEEN, workers=2)
    assert (found.examples, found.shards, found.seconds) == (1000, 9, 260.0)
    assert (found.low_seconds, found.high_seconds) == (210.0, 410.0)
    assert found.time == "3.5 to 6.8 min"
    assert found.basis.startswith("from 12 jobs with this shape; eight out of ten such jobs")


@pytest.mark.parametrize(("workers", "examples", "seconds"), [(0, 10, 15.0), (50, 2, 10.5)])
def test_an_estimate_counts_workers_that_have_something_to_do(
    workers: int, examples: int, seconds: float
) -> None:
    assert estimated(SEEN, workers, examples).seconds == seconds


def test_an_estimate_before_anything_was_measured_names_no_time() -> None:
    found = estimated(None, workers=1)
    assert (found.seconds, found.low_seconds, found.high_seconds, found.time) == (None,) * 3 + ("",)
    assert found.shards == -(-1000 // int(60 / 0.5))
    assert "nothing measured yet" in found.basis
