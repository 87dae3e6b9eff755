"""The leases that are shortened, and where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.scheduling.rebalance import WORTH_SECONDS, HeldLease, room, tails, too_slow


def lease(**changes: Any) -> HeldLease:
    """Ten blocks of eight examples, a second each, of which twelve examples are computed."""
    values = {
        **{"job_id": 1, "shard_no": 0, "fence": 1, "lo": 0, "hi": 80, "block": 8, "progress": 12},
        **{"pace": 1.0, "elapsed": 12.0, "losses": 0, "priority": 0, "queue": "default"},
    }
    return HeldLease(**{**values, **changes})


def test_what_is_untouched_begins_after_the_block_in_progress() -> None:
    assert (lease().done, lease().untouched, lease().left) == (8, 16, 64.0)
    assert lease(progress=16).untouched == 24
    assert lease(elapsed=120.0).left == 640.0  # ten times slower than expected


def test_the_longest_tail_is_halved_for_each_idle_worker() -> None:
    short, long = lease(shard_no=80, hi=32), lease()
    assert tails([short, long], 1) == [(long, 48)]
    assert tails([short, long], 5) == [(long, 48), (short, 24)]
    assert tails([lease(hi=24)], 1) == [(lease(hi=24), 16)]
    assert tails([lease(hi=16), lease(pace=0.01, elapsed=0.1)], 2) == []


def test_room_is_made_by_the_lowest_priority_and_no_more_than_is_wanted() -> None:
    low, lower, high = lease(), lease(shard_no=80, priority=-5), lease(shard_no=160, priority=10)
    assert room([low, lower, high], 10, 1) == [(lower, 16)]
    assert room([low, lower, high], 10, 9) == [(lower, 16), (low, 16)]
    ending = lease(shard_no=240, hi=16)
    assert room([low, ending], 10, 1) == []


def test_a_worker_is_too_slow_in_its_last_block_only_and_compared_with_others() -> None:
    last = {"hi": 16, "elapsed": 200.0}
    assert too_slow(lease(**last), typical=1.0)
    assert not too_slow(lease(**last), typical=5.0)
    assert not too_slow(lease(elapsed=200.0), typical=1.0)
    assert not too_slow(lease(hi=16, elapsed=30.0), typical=0.001)


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(1, 200),
    block=st.integers(1, 32),
    progress=st.integers(0, 200),
    pace=st.floats(0.001, 100),
)
def test_a_new_end_is_between_blocks_and_after_what_is_computed(
    size: int, block: int, progress: int, pace: float
) -> None:
    lo = 5 * block
    one = lease(lo=lo, hi=lo + size, block=block, progress=min(progress, size), pace=pace)
    for held, hi in [*tails([one], 1), *room([one], 1, 1)]:
        assert held.lo + held.progress <= hi < held.hi
        assert hi % block == 0
    assert (not tails([one], 1)) == (one.left < WORTH_SECONDS)


@pytest.mark.parametrize(
    ("progress", "hi", "end"),
    [(0, 64, 8), (0, 192, 64), (8, 192, 128), (20, 192, 128), (64, 192, 128)],
)
def test_a_tail_from_the_small_first_block_on_ends_between_two(
    progress: int, hi: int, end: int
) -> None:
    slow = lease(hi=hi, block=64, progress=progress, elapsed=1e3, pace=1.0)
    assert tails([slow], 1) == [(slow, end)]
