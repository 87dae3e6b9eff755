"""Charts over time: what is drawn where, and what is left out."""

from __future__ import annotations

import pytest

from webui.timelines import BOTTOM, DURATIONS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, timeline

HOUR = 3_600
BASE = float(HEIGHT - BOTTOM)


def draw(values: list[float | None], **changes: object) -> str:
    points = [(300.0 * n, value) for n, value in enumerate(values)]
    span = (0.0, 300.0 * len(values))
    return timeline("t", points, span=span, step=300, **changes).area  # type: ignore[arg-type]


def test_a_step_is_as_wide_as_its_time_and_as_high_as_its_value() -> None:
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    half = BASE - (HEIGHT - TOP - BOTTOM) / 2
    end = float(WIDTH - RIGHT)
    assert draw([1, 2]) == f"M{float(LEFT)} {BASE}V{half}H{middle}V{float(TOP)}H{end}V{BASE}"


def test_nothing_is_drawn_where_a_value_is_unknown() -> None:
    assert draw([None, None]) == ""
    assert draw([1, None, 1]).count("M") == 2
    chart = timeline("t", [(0.0, 1), (900.0, 1)], span=(0.0, 1200.0), step=300)
    assert chart.area.count("M") == 2
    assert timeline("t", [], span=(0.0, 1.0), step=300).summary.startswith("Nothing was recorded")


def test_equal_values_are_one_line() -> None:
    assert draw([3.0] * 50).count("H") == 1


@pytest.mark.parametrize(
    ("most", "top"),
    [(0, "1.00"), (1, "1.00"), (1.1, "2.00"), (7, "10.0"), (41, "100"), (0.03, "0.04")],
)
def test_the_axis_ends_at_a_round_number(most: float, top: str) -> None:
    chart = timeline("t", [(0.0, most)], span=(0.0, 300.0), step=300)
    assert chart.levels[-1].label.startswith(top)
    assert chart.levels[-1].place == TOP
    assert chart.levels[0].place == BASE


def test_durations_end_at_round_ones() -> None:
    chart = timeline("t", [(0.0, 700.0)], span=(0.0, 300.0), step=300, tops=DURATIONS)
    assert chart.levels[-1].label == "1,200"
    longest = timeline("t", [(0.0, 9e6)], span=(0.0, 300.0), step=300, tops=DURATIONS)
    assert longest.levels[-1].place == TOP


@pytest.mark.parametrize(
    ("hours", "first", "last"),
    [
        (12, "03:00", "12:00"),
        (24, "06:00", "00:00"),
        (168, "03 Jan", "07 Jan"),
        (720, "08 Jan", "29 Jan"),
    ],
)
def test_times_are_round_ones_within_the_span(hours: int, first: str, last: str) -> None:
    span = (1.0, float(hours * HOUR))
    chart = timeline("t", [], span=span, step=300)
    assert (chart.times[0].label, chart.times[-1].label) == (first, last)
    assert 3 <= len(chart.times) <= 5
    assert chart.by_day == (hours > 48)
    assert all(LEFT <= tick.place <= WIDTH - RIGHT for tick in chart.times)
