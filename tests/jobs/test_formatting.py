"""Numbers, durations and shares in words."""

from __future__ import annotations

import pytest

from jobs import formatting


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, "0"),
        (1.2345, "1.23"),
        (-0.01, "−0.0100"),
        (123456.7, "123,457"),
        (2.5e-7, "2.50×10⁻⁷"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (3e9, "3.00×10⁹"),
    ],
)
def test_number(value: float | None, wanted: str) -> None:
    assert formatting.number(value) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (0, "0 s"),
        (0.0001, "<1 ms"),
        (0.25, "250 ms"),
        (3.21, "3.2 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3_725, "1 h 2 min"),
        (90_000, "1 d 1 h"),
        (None, "–"),
    ],
)
def test_duration(seconds: float | None, wanted: str) -> None:
    assert formatting.duration(seconds) == wanted


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (0, "0.0 %"),
        (1, "100.0 %"),
        (0.5, "50.0 %"),
        (0.99999, ">99.9 %"),
        (0.00001, "<0.1 %"),
        (0.123, "12.3 %"),
        (None, "–"),
    ],
)
def test_percent(share: float | None, wanted: str) -> None:
    assert formatting.percent(share) == wanted


def test_versions() -> None:
    assert formatting.versions('{"torch": "2.13"}') == "torch 2.13"
    assert formatting.versions("torch 2") == "torch 2"
    assert formatting.versions("[1]") == "[1]"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (112, "112th"),
        (1_023, "1,023rd"),
    ],
)
def test_ordinal(value: int, wanted: str) -> None:
    assert formatting.ordinal(value) == wanted


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.2, 40, "1 to 40 s"),
        (50, 120, "50 s to 2 min"),
        (190, 312, "3.2 to 5.2 min"),
        (720, 731, "about 12 min"),
        (3_000, 9_000, "50 min to 2.5 h"),
        (90_000, 200_000, "25 h to 2.3 d"),
    ],
)
def test_time_range(low: float, high: float, wanted: str) -> None:
    assert formatting.time_range(low, high) == wanted
