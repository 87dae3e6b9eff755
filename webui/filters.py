"""Jinja filters: the formats of numbers, durations and times on the pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from markupsafe import Markup

from jobs import formatting


def moment(seconds: float | None) -> Markup:
    """A point in time as a <time> element: UTC here, turned into local time by the page."""
    if seconds is None or not math.isfinite(seconds):
        return Markup(formatting.MISSING)  # noqa: S704
    when = datetime.fromtimestamp(seconds, UTC)
    stamp, shown = when.isoformat(timespec="seconds"), when.strftime("%Y-%m-%d %H:%M UTC")
    # Nothing here but digits: no user's text can enter.
    return Markup(f'<time datetime="{stamp}">{shown}</time>')  # noqa: S704


FILTERS = {
    "number": formatting.number,
    "signed": formatting.signed,
    "count": formatting.count,
    "bytes": formatting.size,
    "percent": formatting.percent,
    "rate": formatting.rate,
    "duration": formatting.duration,
    "moment": moment,
    "clock": formatting.clock,
    "versions": formatting.versions,
}
