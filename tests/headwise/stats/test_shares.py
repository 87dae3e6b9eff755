"""Shares and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from headwise.stats.shares import share


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        # By hand: z^2 = 3.841459; 0 of 10 has the upper end z^2 / (10 + z^2).
        (0, 10, 0.0, 3.841459 / 13.841459),
        (10, 10, 10 / 13.841459, 1.0),
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_share(count: int, n: int, low: float, high: float) -> None:
    found = share(count, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.value == count / n


def test_arrays_and_nothing_counted() -> None:
    found = share([[0, 1], [0, 3]], [[0, 2], [5, 3]])
    np.testing.assert_array_equal(found.value, [[np.nan, 0.5], [0, 1]])
    assert np.isnan(found.low[0, 0])
    assert found.low[1, 0] == 0
    assert found.high[1, 1] == 1


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to n"):
        share([1, 3], [2, 2])
