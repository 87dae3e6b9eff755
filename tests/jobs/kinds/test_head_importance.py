"""Sums of shards become head importance: against numpy, and in any order of arrival."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.kinds.attribution import shard_sums
from jobs.kinds.head_importance import SUM_NAMES, Z95, HeadSums, head_importance, importance_hash
from jobs.scheduling.plan import blocks
from tests.helpers.jobs import result_of


def sums_of(
    scores: np.ndarray, totals: np.ndarray, bounds: list[tuple[int, int]]
) -> list[HeadSums]:
    """Per-shard sums of [examples, sites, heads] values."""
    return [
        HeadSums(
            site=site,
            head=head,
            n=hi - lo,
            score_sum=float(scores[lo:hi, site, head].sum()),
            score_squares=float((scores[lo:hi, site, head] ** 2).sum()),
            total_sum=float(totals[lo:hi, site, head].sum()),
            absolute_total_sum=float(np.abs(totals[lo:hi, site, head]).sum()),
            attention_max_sum=float(scores[lo:hi, site, head].sum() * 3),
            attention_mean_sum=float(scores[lo:hi, site, head].sum() * 5),
        )
        for lo, hi in bounds
        for site in range(scores.shape[1])
        for head in range(scores.shape[2])
    ]


DRAWN = {
    "examples": st.integers(2, 60),
    "size": st.integers(1, 20),
    "seed": st.integers(0, 2**32 - 1),
    "scale": st.sampled_from([1e-6, 1e-2, 1.0, 1e3]),
}


def drawn(examples: int, seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = generator.exponential(scale, (examples, 2, 3))
    return scores, generator.normal(0, scale, (examples, 2, 3))


@settings(max_examples=60, deadline=None)
@given(**DRAWN)
def test_importance_is_what_numpy_says(examples: int, size: int, seed: int, scale: float) -> None:
    scores, totals = drawn(examples, seed, scale)
    found = head_importance(sums_of(scores, totals, list(blocks(0, examples, size))))
    assert [(h.site, h.head) for h in found] == [(s, h) for s in range(2) for h in range(3)]
    for head in found:
        own, total = scores[:, head.site, head.head], totals[:, head.site, head.head]
        std = own.std(ddof=1)
        assert head.n == examples
        assert head.std is not None
        assert head.low is not None
        assert head.high is not None
        # A sum of squares keeps half of the digits where the spread is far below the mean.
        assert head.mean == pytest.approx(own.mean(), rel=1e-12)
        assert head.std == pytest.approx(std, rel=1e-9, abs=1e-7 * abs(own).max())
        half = Z95 * head.std / np.sqrt(examples)
        assert (head.low, head.high) == pytest.approx((head.mean - half, head.mean + half))
        assert head.mean_total == pytest.approx(total.mean(), rel=1e-9, abs=1e-12 * scale)
        assert head.mean_absolute_total == pytest.approx(np.abs(total).mean(), rel=1e-12)
        assert head.mean_attention_max == pytest.approx(3 * own.mean(), rel=1e-12)
        assert head.mean_attention_mean == pytest.approx(5 * own.mean(), rel=1e-12)
    means = scores.mean(axis=0).ravel()
    assert [h.rank for h in found] == (np.argsort(np.argsort(-means)) + 1).tolist()


@settings(max_examples=40, deadline=None)
@given(**DRAWN, order=st.randoms(use_true_random=False))
def test_importance_does_not_depend_on_the_order_of_arrival(
    examples: int, size: int, seed: int, scale: float, order: random.Random
) -> None:
    """Shards are read in their order; exact sums would not even need that."""
    scores, totals = drawn(examples, seed, scale)
    sums = sums_of(scores, totals, list(blocks(0, examples, size)))
    arrived = list(enumerate(sums))
    order.shuffle(arrived)
    expected = head_importance(sums)
    by_shard = head_importance(part for _, part in sorted(arrived, key=lambda pair: pair[0]))
    assert by_shard == expected
    assert importance_hash(by_shard) == importance_hash(expected)
    assert head_importance(part for _, part in arrived) == expected


def test_a_single_example_has_no_spread() -> None:
    (head,) = head_importance([sums(n=1, score_sum=0.5, score_squares=0.25)])
    assert (head.mean, head.std, head.low, head.high) == (0.5, None, None, None)


def test_the_interval_is_that_of_the_normal_distribution() -> None:
    """Scores 1 and 3: mean 2, standard deviation sqrt(2), standard error 1."""
    (head,) = head_importance([sums(n=2, score_sum=4.0, score_squares=10.0)])
    assert (head.mean, head.std) == pytest.approx((2.0, 2**0.5))
    assert (head.low, head.high) == pytest.approx((2 - 1.959964, 2 + 1.959964), abs=1e-6)


def test_equal_scores_have_no_spread() -> None:
    """Rounding must not make the variance negative."""
    (head,) = head_importance([sums(n=3, score_sum=0.3, score_squares=0.03 - 1e-18)])
    assert head.std == pytest.approx(0.0, abs=1e-8)


def test_ties_go_to_the_earlier_head() -> None:
    parts = [sums(site=site, head=head) for site in (1, 0) for head in (1, 0)]
    found = head_importance(parts)
    assert [(h.site, h.head, h.rank) for h in found] == [
        (0, 0, 1),
        (0, 1, 2),
        (1, 0, 3),
        (1, 1, 4),
    ]


def test_shards_in_which_every_example_failed_count_nothing() -> None:
    empty = sums(n=0, **dict.fromkeys(SUM_NAMES, 0.0))
    assert head_importance([empty]) == []
    assert head_importance([]) == []
    assert head_importance([empty, sums()]) == head_importance([sums()])


def test_the_hash_notices_the_last_digit() -> None:
    (head,) = head_importance([sums()])
    near = dataclasses.replace(head, mean=float(np.nextafter(head.mean, 1)))
    assert importance_hash([head]) == importance_hash([head])
    assert importance_hash([head]) != importance_hash([near])
    assert importance_hash([]) != importance_hash([head])


def sums(**changes: float) -> HeadSums:
    values = dict.fromkeys(SUM_NAMES, 0.25) | {"site": 0, "head": 0, "n": 2} | changes
    return HeadSums(**values)  # type: ignore[arg-type]


def test_sums_of_a_shard_leave_failed_examples_out() -> None:
    result = result_of(0, 5, frozenset({1, 3}))
    count, found = shard_sums(result)
    assert count == 3
    assert found.shape == (len(SUM_NAMES), 2, 3)
    assert found.dtype == np.float64
    kept = result.score[[0, 2, 4]].astype(np.float64)
    expected = {
        "score_sum": kept.sum(axis=0),
        "score_squares": (kept**2).sum(axis=0),
        "total_sum": result.total[[0, 2, 4]].astype(np.float64).sum(axis=0),
        "absolute_total_sum": np.abs(result.total[[0, 2, 4]].astype(np.float64)).sum(axis=0),
        "attention_max_sum": result.attention_max[[0, 2, 4]].astype(np.float64).sum(axis=0),
        "attention_mean_sum": result.attention_mean[[0, 2, 4]].astype(np.float64).sum(axis=0),
    }
    for name, values in zip(SUM_NAMES, found, strict=True):
        np.testing.assert_allclose(values, expected[name], rtol=1e-12)


def test_sums_of_a_shard_in_which_every_example_failed() -> None:
    count, found = shard_sums(result_of(0, 2, frozenset({0, 1})))
    assert count == 0
    assert not found.any()
