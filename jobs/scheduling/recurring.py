"""Recurring jobs: a submission, a cron expression, and the times when it is due."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator

from jobs.specs.base import Frozen
from jobs.specs.submission import parsed


class Recurring(Frozen):
    """A submission that is repeated on a schedule."""

    cron: str = Field(
        min_length=1,
        max_length=200,
        description="Minute, hour, day of month, month, day of week: '30 2 * * mon-fri'.",
    )
    zone: str = Field(
        default="UTC",
        min_length=1,
        max_length=100,
        description="Time zone of the expression, such as Europe/Berlin.",
    )
    name: str = Field(default="", max_length=200, description="Shown in lists.")
    submission: dict[str, Any] = Field(
        description="The submission to repeat, see docs/reference/jobs.md."
    )

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError("must have five fields")
        try:
            CronSim(value, datetime.now(UTC))
        except CronSimError as error:
            raise ValueError(f"is not a cron expression: {str(error).lower()}") from None
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, LookupError):
            raise ValueError("is not a known time zone") from None
        return value


def parse_recurring(raw: object) -> Recurring:
    """Parse a recurring job from decoded JSON. Raises InputError with every problem found."""
    return parsed(Recurring, raw, "recurring job")


def next_time(cron: str, zone: str, after: float) -> float | None:
    """Return the first time after `after` (seconds since 1970), or None."""
    return _first(CronSim(cron, datetime.fromtimestamp(after, ZoneInfo(zone))))


def last_time(cron: str, zone: str, now: float) -> float | None:
    """Return the last time that is not after `now`, to the minute."""
    start = datetime.fromtimestamp(now // 60 * 60 + 60, ZoneInfo(zone))
    return _first(CronSim(cron, start, reverse=True))


def _first(times: CronSim) -> float | None:
    found = next(times, None)
    return None if found is None else found.timestamp()
