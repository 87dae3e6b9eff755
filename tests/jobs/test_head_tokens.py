"""Attributions of tokens to heads, packed: precision, sizes, long texts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jobs.head_tokens import STRONGEST, WHOLE, pack, unpack_head


def values(sites: int, heads: int, length: int) -> np.ndarray:
    """Values of very different sizes, of both signs."""
    draw = np.random.default_rng(7)
    sizes = 10.0 ** draw.integers(-9, 3, (sites, heads, 1))
    return (draw.standard_normal((sites, heads, length)) * sizes).astype(np.float32)


@pytest.mark.parametrize("length", [1, 40, WHOLE])
def test_every_token_of_a_text_to_three_digits_of_the_largest(length: int) -> None:
    given = values(3, 4, length)
    packed = pack(given)
    assert len(packed) == 6 + 12 * (4 + 2 * length)
    for site in range(3):
        for head in range(4):
            want = given[site, head].astype(float)
            found = unpack_head(packed, site, head)
            np.testing.assert_allclose(found, want, rtol=0, atol=5e-4 * np.abs(want).max())


def test_a_long_text_keeps_what_each_head_reads_most() -> None:
    given = values(2, 3, 500)
    packed = pack(given)
    assert len(packed) == 6 + 6 * (4 + 4 * STRONGEST)
    for site in range(2):
        for head in range(3):
            want = given[site, head]
            found = np.array(unpack_head(packed, site, head))
            kept = np.argsort(-np.abs(want))[:STRONGEST]
            assert set(np.flatnonzero(~np.isnan(found))) == set(kept.tolist())
            atol = 5e-4 * float(np.abs(want).max())
            np.testing.assert_allclose(found[kept], want[kept], rtol=0, atol=atol)


def test_a_head_that_reads_nothing_and_heads_that_do_not_exist() -> None:
    given = values(2, 2, 3)
    given[0, 1] = 0
    given[1, 1] = math.nan  # the second site has one head
    packed = pack(given)
    assert unpack_head(packed, 0, 1) == [0, 0, 0]
    assert [unpack_head(packed, *place) for place in ((1, 1), (0, 2), (2, 0))] == [None] * 3
    long = values(1, 2, 300)
    long[0, 1] = math.nan
    assert unpack_head(pack(long), 0, 1) is None
