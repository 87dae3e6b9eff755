"""Shares of counts with their confidence intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


class Estimate(NamedTuple):
    """Numbers with their 95 % intervals, float64 arrays of one shape; NaN without examples."""

    value: Doubles
    low: Doubles
    high: Doubles


def share(count: ArrayLike, n: ArrayLike) -> Estimate:
    """Return count / n with the 95 % score interval of Wilson (1927); NaN where n is 0.

    Unlike the normal interval, it stays within 0 and 1 and has a nonzero width at both.

    Raises ValueError unless 0 <= count <= n.
    """
    count, n = np.asarray(count, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if (count < 0).any() or (count > n).any():
        raise ValueError("a count must be from 0 to n")
    n = np.where(n == 0, np.nan, n)
    value, square = count / n, Z95**2 / n
    middle = (value + square / 2) / (1 + square)
    half = Z95 / (1 + square) * np.sqrt((value * (1 - value) + square / 4) / n)
    # Rounding must not move the interval off the share at 0 and 1.
    return Estimate(value, np.minimum(middle - half, value), np.maximum(middle + half, value))
