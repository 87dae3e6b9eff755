"""Jinja filters: the formats of numbers, durations and times on the pages."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from markupsafe import Markup, escape

from headwise.figures import palette
from jobs import formatting
from jobs.errors import as_written
from webui.terms import term


def moment(seconds: float | None) -> Markup:
    """A point in time as a <time> element: UTC here, turned into local time by the page."""
    if seconds is None or not math.isfinite(seconds):
        return Markup(formatting.MISSING)  # noqa: S704
    when = datetime.fromtimestamp(seconds, UTC)
    stamp, shown = when.isoformat(timespec="seconds"), when.strftime("%Y-%m-%d %H:%M UTC")
    # Nothing here but digits: no user's text can enter.
    return Markup(f'<time datetime="{stamp}">{shown}</time>')  # noqa: S704


def commands(text: str) -> Markup:
    """Text with the `commands` in it as <code> elements."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(marked)  # noqa: S704 - escaped


FILTERS = {
    "as_written": as_written,
    "commands": commands,
    "number": formatting.number,
    "signed": formatting.signed,
    "count": formatting.count,
    "bytes": formatting.size,
    "percent": formatting.percent,
    "rate": formatting.rate,
    "duration": formatting.duration,
    "moment": moment,
    "clock": formatting.clock,
    "term": term,
    "versions": formatting.versions,
}


def level(value: float, scale: float) -> str:
    """CSS class of a value on the diverging scale: 'p1'..'p10', 'n1'..'n10', or 'z' near zero."""
    step = palette.level(value, scale)
    return f"{'p' if step > 0 else 'n'}{abs(step)}" if step else "z"
