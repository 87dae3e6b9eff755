"""Sums in parts: the same for every order and grouping, and as exact as their units allow."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwise.stats import exact

NUMBERS = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(numbers=NUMBERS, cut=st.integers(0, 60), seed=st.integers(0, 1000))
def test_neither_order_nor_grouping_changes_a_sum(numbers, cut, seed):
    values = np.array(numbers)
    for units in (exact.WIDE, exact.NARROW):
        whole = exact.split(values, units).sum(1)
        shuffled = np.random.default_rng(seed).permutation(values)
        parts = exact.split(shuffled[:cut], units).sum(1) + exact.split(shuffled[cut:], units).sum(
            1
        )
        np.testing.assert_array_equal(whole, parts)


@settings(max_examples=200, deadline=None)
@given(numbers=NUMBERS)
def test_a_sum_is_as_near_as_its_units(numbers):
    true = math.fsum(numbers)
    wide = float(exact.total(exact.split(np.array(numbers)).sum(1)))
    assert wide == pytest.approx(true, rel=1e-15, abs=1e-29)
    narrow = float(exact.total(exact.split(np.array(numbers), exact.NARROW).sum(1)))
    assert narrow == pytest.approx(true, rel=1e-15, abs=len(numbers) * 2.0**-49)


def test_plain_sums_would_depend_on_the_grouping():
    values = np.array([0.1, 0.2, 0.3])
    assert values[:2].sum() + values[2] != values[0] + values[1:].sum()
    parts = exact.split(values)
    one, other = parts[:, :2].sum(1) + parts[:, 2], parts[:, 0] + parts[:, 1:].sum(1)
    assert exact.total(one) == exact.total(other)


def test_what_is_not_there_stays_so():
    assert np.isnan(exact.total(exact.split(np.array([math.nan])))).all()


def test_on_a_grid():
    assert exact.on_grid(np.array([0.3, -0.8]), -1).tolist() == [0.5, -1.0]
