"""Cron expressions in time zones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from jobs.scheduling.recurring import last_time, next_time, parse_recurring
from tests.helpers.inputs import refused

BERLIN = "Europe/Berlin"


def at(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


@pytest.mark.parametrize(
    ("cron", "zone", "now", "last", "following"),
    [
        ("0 3 * * *", "UTC", "2026-11-25T02:59:59+00:00", "2026-11-24T03:00+00:00",
         "2026-11-25T03:00+00:00"),
        ("0 3 * * *", "UTC", "2026-11-25T03:00:00+00:00", "2026-11-25T03:00+00:00",
         "2026-11-26T03:00+00:00"),
        ("0 3 * * *", BERLIN, "2026-11-25T02:30:00+00:00", "2026-11-25T02:00+00:00",
         "2026-11-26T02:00+00:00"),
        ("0 3 * * *", BERLIN, "2026-07-01T02:30:00+00:00", "2026-07-01T01:00+00:00",
         "2026-07-02T01:00+00:00"),
        ("*/15 9 * * mon", "UTC", "2026-11-25T00:00:00+00:00", "2026-11-23T09:45+00:00",
         "2026-11-30T09:00+00:00"),
    ],
)  # fmt: skip
def test_the_last_and_the_next_time(
    cron: str, zone: str, now: str, last: str, following: str
) -> None:
    assert last_time(cron, zone, at(now)) == at(last)
    assert next_time(cron, zone, at(now)) == at(following)


def test_a_daily_time_comes_once_on_days_when_clocks_change() -> None:
    for month, day in ((3, 29), (10, 25)):
        moment, found = at(f"2026-{month:02}-{day - 1}T12:00+00:00"), []
        for _ in range(3):
            moment = next_time("30 2 * * *", BERLIN, moment) or 0
            found.append(moment)
        days = [datetime.fromtimestamp(one).astimezone().date().toordinal() for one in found]
        assert days == [days[0], days[0] + 1, days[0] + 2]


def raw(**changes: Any) -> dict[str, Any]:
    return {"cron": "0 3 * * *", "submission": {}, **changes}


def test_a_good_one() -> None:
    found = parse_recurring(raw(zone=BERLIN, name="nightly"))
    assert (found.cron, found.zone, found.name) == ("0 3 * * *", BERLIN, "nightly")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cron": "0 3 * *"}, ("cron", "must have five fields")),
        ({"cron": "0 3 * * * *"}, ("cron", "must have five fields")),
        ({"cron": "61 3 * * *"}, ("cron", "is not a cron expression")),
        ({"cron": "0 0 31 2 *"}, ("cron", "is not a cron expression")),
        ({"cron": 5}, ("cron",)),
        ({"zone": "Europe/Bonn"}, ("zone", "is not a known time zone")),
        ({"zone": "../../etc/passwd"}, ("zone", "is not a known time zone")),
        ({"zone": "\0"}, ("zone", "is not a known time zone")),
        ({"submission": []}, ("submission",)),
        ({"crom": "x"}, ("crom", "Did you mean 'cron'?")),
    ],
)
def test_bad_ones(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(lambda: parse_recurring(raw(**changes)), *words)
