"""Sums of floating-point numbers that are independent of the order and grouping of the terms.

A number is split into parts, each a multiple of a power of two and small compared with the next
larger one. Sums of such parts are exact in float64 as long as they stay below 2^53 of their unit,
so they are the same in any order, on any machine, and for any division of the terms into shards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]

WIDE = (8, -20, -48, -76, -104)
"""Units of parts, as powers of two: exact up to sums of 2^61, and for terms down to 2^-104."""
NARROW = (-20, -48)
"""Exact up to sums of 2^33, terms rounded to 2^-48: fewer bytes, for values to be ranked."""


def split(values: Floats, units: tuple[int, ...] = WIDE) -> Doubles:
    """Split each value into parts, [parts, ...], the largest first; NaN stays NaN."""
    parts = np.empty((len(units), *values.shape))
    rest = values.astype(np.float64)
    for place, unit in enumerate(units):
        # Products with powers of two are as exact as ldexp, which takes longer.
        parts[place] = np.rint(rest * 2.0**-unit) * 2.0**unit
        rest = rest - parts[place]
    return parts


def total(parts: Doubles) -> Doubles:
    """Return the numbers that sums of parts, [parts, ...], represent."""
    found: Doubles = parts[-1].copy()
    for part in parts[-2::-1]:
        found += part
    return found


def on_grid(values: Floats, unit: int) -> Doubles:
    """Round values to multiples of 2^unit, so that sums are exact up to 2^(53 + unit)."""
    rounded: Doubles = np.ldexp(np.rint(np.ldexp(values.astype(np.float64), -unit)), unit)
    return rounded
