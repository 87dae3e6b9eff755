"""Time that is left of a job, and its rate, from pieces of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.scheduling.estimates import (
    MOST_SPREAD,
    RATE_WINDOW,
    PastJob,
    Pieces,
    covered,
    experience,
    likely,
    recent_rate,
    remaining,
    t90,
)

NOW = 10_000.0
SINCE = NOW - RATE_WINDOW


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        pytest.param([], None, id="none"),
        pytest.param([(NOW - 10, None, 40)], 4.0, id="one that runs"),
        pytest.param([(NOW - 10, None, None)], None, id="one without examples yet"),
        pytest.param([(NOW, None, 5)], None, id="one that starts now"),
        pytest.param([(NOW - 20, NOW - 10, 40)], 4.0, id="idle since"),
        pytest.param([(NOW - 20, NOW - 10, 40), (NOW - 10, None, 10)], 2.5, id="one after another"),
        pytest.param([(NOW - 10, None, 40), (NOW - 10, None, 20)], 6.0, id="two at once"),
        pytest.param(
            [(SINCE - RATE_WINDOW, NOW, 600)], 300 / RATE_WINDOW, id="half of it in the window"
        ),
        pytest.param([(SINCE - 20, SINCE - 10, 40)], None, id="before the window"),
        pytest.param([(SINCE - 20, SINCE, 40), (NOW - 10, None, 30)], 3.0, id="ends at its edge"),
    ],
)
def test_the_recent_rate(
    attempts: list[tuple[float, float | None, int | None]], expected: float | None
) -> None:
    assert recent_rate(attempts, NOW) == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted), max_size=12))
def test_time_that_is_covered_counts_once(spans: list[list[int]]) -> None:
    seconds = {n for start, end in spans for n in range(start, end)}
    assert covered((start, end) for start, end in spans) == len(seconds)


def pieces_of(parts: list[tuple[int, float]]) -> Pieces:
    """The sums over pieces of so many examples and seconds."""
    return Pieces(
        count=len(parts),
        examples=sum(n for n, _ in parts),
        seconds=sum(seconds for _, seconds in parts),
        squares=sum(seconds**2 / n for n, seconds in parts),
    )


def test_equal_pieces_leave_no_doubt() -> None:
    found = remaining(pieces_of([(10, 5.0)] * 3), 60, workers=2)
    assert found is not None
    assert (found.low, found.middle, found.high) == pytest.approx((15.0, 15.0, 15.0))


@pytest.mark.parametrize(
    ("pieces", "examples", "workers"),
    [
        pytest.param([(10, 5.0), (10, 5.1)], 60, 1, id="two pieces"),
        pytest.param([(10, 5.0), (10, 50.0), (10, 1.0)], 60, 1, id="it may be anything"),
        pytest.param([(10, 5.0)] * 3, 60, 0, id="nobody works on it"),
        pytest.param([(10, 5.0)] * 3, 0, 1, id="nothing is left"),
    ],
)
def test_no_time_before_it_says_something(
    pieces: list[tuple[int, float]], examples: int, workers: int
) -> None:
    assert remaining(pieces_of(pieces), examples, workers) is None


@pytest.mark.parametrize(
    ("freedom", "expected"), [(2, 1.886), (3, 1.638), (5, 1.476), (10, 1.372), (30, 1.310)]
)
def test_quantiles_of_students_distribution(freedom: int, expected: float) -> None:
    assert t90(freedom) == pytest.approx(expected, rel=0.005)


def gamma(draw: random.Random) -> float:
    """Seconds of an example whose length varies."""
    return draw.gammavariate(4.0, 0.1)


def skewed(draw: random.Random) -> float:
    """Most are short, a few are long."""
    return math.exp(draw.gauss(-1.2, 0.8))


@pytest.mark.parametrize("seconds", [gamma, skewed])
@pytest.mark.parametrize("done", [3, 6, 20])
def test_the_range_holds_in_eight_of_ten_jobs(
    seconds: Callable[[random.Random], float], done: int
) -> None:
    draw = random.Random(f"{seconds.__name__} {done}")
    inside, shown = 0, 0
    for _ in range(600):
        examples = [seconds(draw) for _ in range(640)]
        cuts = list(range(0, 641, 16))
        parts = [(hi - lo, sum(examples[lo:hi])) for lo, hi in pairwise(cuts)]
        found = remaining(pieces_of(parts[:done]), 640 - cuts[done], workers=1)
        if found is not None:
            assert found.low <= found.middle <= found.high <= MOST_SPREAD * found.low
            shown += 1
            inside += found.low <= sum(examples[cuts[done] :]) <= found.high
    assert shown > 500
    assert 0.74 < inside / shown < 0.86


def noise(draw: random.Random) -> float:
    """Jobs differ by a quarter."""
    return math.exp(draw.gauss(0, 0.25))


def tails(draw: random.Random) -> float:
    """One in ten was run beside something else, and took twice as long."""
    return noise(draw) * (2 if draw.random() < 0.1 else 1)


@pytest.mark.parametrize("seconds", [noise, tails])
@pytest.mark.parametrize("jobs", [1, 2, 4, 8, 9, 30])
def test_the_next_job_is_in_the_range_in_eight_of_ten_histories(
    seconds: Callable[[random.Random], float], jobs: int
) -> None:
    draw = random.Random(f"{seconds.__name__} {jobs}")
    inside = 0
    for _ in range(2000):
        found = likely([3 * seconds(draw) for _ in range(jobs)])
        assert found.low <= found.middle <= found.high
        inside += found.low <= 3 * seconds(draw) <= found.high
    # With few jobs the usual spread is assumed, which is wider than these have.
    assert 0.77 < inside / 2000 < (0.99 if jobs < 9 else 0.83)


def past(pace: float, characters: float | None = 100.0, **settings: object) -> PastJob:
    return PastJob(unit_seconds=pace, start_seconds=5.0, characters=characters, settings=settings)


@pytest.mark.parametrize(
    ("characters", "settings", "jobs", "alike", "pace"),
    [
        (110.0, {"rtol": 0.1}, 1, "this model shape, text length and tolerance", 1.0),
        (1000.0, {"rtol": 0.1}, 2, "this model shape and tolerance", 2.0),
        (None, {"rtol": 0.1}, 2, "this model shape and tolerance", 2.0),
        (100.0, {"rtol": 0.5}, 4, "this model shape", 2.83),
    ],
)
def test_jobs_that_are_most_alike_count(
    characters: float | None, settings: dict[str, object], jobs: int, alike: str, pace: float
) -> None:
    known = [
        past(1.0, rtol=0.1),
        past(4.0, 300.0, rtol=0.1),
        past(4.0, None, rtol=0.01),
        past(4.0, 300.0, rtol=0.01),
    ]
    found = experience(known, characters, settings)
    assert found is not None
    assert (found.jobs, found.alike, found.start_seconds) == (jobs, alike, 5.0)
    assert found.unit.middle == pytest.approx(pace, abs=0.01)
    assert experience([], characters, settings) is None
