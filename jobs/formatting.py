"""Numbers, shares, durations and names of heads as text: for pages, findings and commands."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A measured number with `digits` significant digits; tiny and huge ones in powers of ten."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}×10{_superscript(int(exponent))}".replace("-", "−")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """A number that always shows its sign."""
    shown = number(value, digits)
    return f"+{shown}" if value is not None and value > 0 and shown != MISSING else shown


def count(value: int | None) -> str:
    """A whole number with thousands separated."""
    return MISSING if value is None else f"{value:,}"


def counted(value: int, word: str) -> str:
    """Count a noun: `1 shard`, `1,200 shards`."""
    return f"{value:,} {word}{'' if value == 1 else 's'}"


def percentage_points(value: float) -> str:
    """Percentage points: `1 point`, `0.5 points`."""
    return f"{value:g} {'point' if value == 1 else 'points'}"


def ordinal(value: int) -> str:
    """A place: `1st`, `12th`, `1,003rd`."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    end = "th" if value % 100 in (11, 12, 13) else ends.get(value % 10, "th")
    return f"{value:,}{end}"


def size(value: float) -> str:
    """A size in bytes, in the largest unit that fits: 1.2 GB."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{number(value, 2 if value < 99.5 else 3)} {units[power]}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage of always as many digits; only exact ones are shown as 0 or 100."""
    if share is None or not math.isfinite(share):
        return MISSING
    edge = 10.0**-digits
    shown = 100 * share
    if 0 < shown < edge:
        return f"<{edge:g} %"
    if 100 - edge < shown < 100:
        return f">{100 - edge:g} %"
    return f"{shown:.{digits}f} %"


def rate(value: float | None) -> str:
    """Examples per second."""
    if value is None:
        return MISSING
    if value < 0.1:
        return f"{number(value * 60, 2)} examples/min"
    return f"{number(value, 3)} examples/s"


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that fit."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds <= 0:
        return "0 s"
    if seconds < 0.001:
        return "<1 ms"
    if seconds < 0.95:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size:,} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def time_range(low: float, high: float) -> str:
    """A range of seconds, in the largest unit that fits: `3 to 5 min`, `50 s to 2 min`."""
    first, unit = _coarse(low)
    last, other = _coarse(high)
    if (first, unit) == (last, other):
        return f"about {first} {unit}"
    start = first if unit == other else f"{first} {unit}"
    return f"{start} to {last} {other}"


def _coarse(seconds: float) -> tuple[str, str]:
    """A number of at most two digits, and its unit."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            value = seconds / size
            return (f"{value:.0f}" if value >= 9.5 else f"{value:.1f}".removesuffix(".0")), unit
    return (f"{seconds:.0f}" if seconds >= 1 else "1"), "s"


def clock(seconds: float) -> str:
    """Month, day and time to the millisecond, in UTC, as log lines show it."""
    when = datetime.fromtimestamp(seconds, UTC)
    return when.strftime("%m-%d %H:%M:%S.") + f"{when.microsecond // 1000:03d}"


def utc(seconds: float | None) -> str:
    """A point in time, in UTC."""
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def versions(stored: str) -> str:
    """Format a worker's package versions, stored as a JSON object."""
    try:
        found = json.loads(stored)
    except ValueError:
        return stored
    if not isinstance(found, dict):
        return stored
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _superscript(value: int) -> str:
    return str(value).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
