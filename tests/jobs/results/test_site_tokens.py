"""Rows of numbers as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jobs.results.site_tokens import to_json


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-30, 3e-7, 1.0, 9.9999e4])
def test_rows_keep_five_digits_of_their_largest_number(scale: float, dtype: type) -> None:
    draw = np.random.default_rng(3)
    units = np.array([[1], [1e-6], [1e4], [0]])
    rows = (draw.standard_normal((4, 30)) * scale * units).astype(dtype)
    found = np.array(json.loads(to_json(rows)))
    largest = np.abs(rows.astype(np.float64)).max(axis=1, keepdims=True)
    assert (np.abs(found - rows) <= 5.001e-5 * largest).all()
    assert (found[3] == 0).all()
