"""Attributions of tokens to heads, packed: precision, sizes, long texts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jobs.results.head_tokens import STEPS, STRONGEST, WHOLE, pack, unpack_head


def assert_near(found: object, want: np.ndarray) -> None:
    """Hold the roots of shares of the largest value to half a step."""
    largest = np.abs(want).max()
    roots = [
        np.sign(one) * np.sqrt(np.abs(one) / largest) for one in (np.array(found, float), want)
    ]
    np.testing.assert_allclose(*roots, rtol=0, atol=0.501 / STEPS)


def values(sites: int, heads: int, length: int) -> np.ndarray:
    """Values of very different sizes, of both signs."""
    draw = np.random.default_rng(7)
    sizes = 10.0 ** draw.integers(-9, 3, (sites, heads, 1))
    return (draw.standard_normal((sites, heads, length)) * sizes).astype(np.float32)


@pytest.mark.parametrize("length", [1, 40, WHOLE])
def test_every_token_of_a_text_to_half_a_step(length: int) -> None:
    given = values(3, 4, length)
    packed = pack(given)
    assert len(packed) == 9 + 12 * (4 + length)
    for site in range(3):
        for head in range(4):
            want = given[site, head].astype(float)
            found = unpack_head(packed, site, head)
            assert_near(found, want)


def test_a_long_text_keeps_what_each_head_reads_most() -> None:
    given = values(2, 3, 500)
    packed = pack(given)
    assert len(packed) == 9 + 6 * (4 + 3 * STRONGEST)
    for site in range(2):
        for head in range(3):
            want = given[site, head]
            found = np.array(unpack_head(packed, site, head))
            kept = np.argsort(-np.abs(want))[:STRONGEST]
            assert set(np.flatnonzero(~np.isnan(found))) == set(kept.tolist())
            assert_near(found[kept], want[kept])


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


def in_half_precision(given: np.ndarray) -> bytes:
    """Pack values as the releases before this format did."""
    scale = np.abs(given).max(axis=2).astype("<f4")
    shares = given / scale[..., None]
    parts = [np.array(given.shape, dtype="<u2"), scale]
    if given.shape[2] > WHOLE:
        order = np.argsort(-np.abs(shares), axis=2, kind="stable")
        places = np.sort(order[..., :STRONGEST])
        shares = np.take_along_axis(shares, places, axis=2)
        parts.append(places.astype("<u2"))
    return b"".join(part.tobytes() for part in (*parts, shares.astype("<f2")))


@pytest.mark.parametrize("length", [1, 40, WHOLE, 500])
@pytest.mark.parametrize("sites", [1, 3])
def test_rows_of_earlier_releases_are_read_to_three_digits(sites: int, length: int) -> None:
    given = values(sites, 4, length)
    packed = in_half_precision(given)
    for site in range(sites):
        for head in range(4):
            want, found = given[site, head], np.array(unpack_head(packed, site, head))
            known = ~np.isnan(found)
            assert known.sum() == min(length, STRONGEST if length > WHOLE else length)
            atol = 5e-4 * float(np.abs(want).max())
            np.testing.assert_allclose(found[known], want[known], rtol=0, atol=atol)
    assert unpack_head(packed, sites, 0) is None


def test_the_largest_values_are_exact_and_small_ones_are_told_apart() -> None:
    given = np.array([[[9, -9, 0.1, 0.05, 0.001, 0]]], dtype=np.float32)
    found = unpack_head(pack(given), 0, 0)
    assert found is not None
    assert found[:2] == [9, -9]
    assert found[2:4] == pytest.approx([0.1, 0.05], rel=0.1)
    assert found[4:] == [pytest.approx(9 / STEPS**2), 0]
