"""The times up to now that pages and the API look at."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

HOUR_SECONDS = 3_600

PeriodName = Literal["12", "24", "168", "720"]
PeriodField = Annotated[PeriodName, Field(description="Hours up to now.")]
DEFAULT_PERIOD: PeriodName = "24"
"""The time that is looked at where none is asked for."""


@dataclass(frozen=True, kw_only=True)
class Period:
    """A time up to now."""

    hours: int
    name: str
    step: int
    """Seconds of a step of the figures."""
    row: int
    """Seconds of a row of the tables beside them."""

    @property
    def span(self) -> tuple[float, float]:
        """Its beginning, at a step, and its end: seconds since 1970."""
        end = time.time()
        return (end - self.hours * HOUR_SECONDS) // self.step * self.step, end


PERIODS = {
    str(period.hours): period
    for period in (
        Period(hours=12, name="12 hours", step=300, row=HOUR_SECONDS),
        Period(hours=24, name="24 hours", step=600, row=HOUR_SECONDS),
        Period(hours=168, name="7 days", step=HOUR_SECONDS, row=6 * HOUR_SECONDS),
        Period(hours=720, name="30 days", step=4 * HOUR_SECONDS, row=24 * HOUR_SECONDS),
    )
}
"""By the value of the parameter `hours`."""
