"""Importance from sums: the bootstrap does not see how the data were cut, and ranks are right."""

import math

import numpy as np
import pytest

from headwise.stats import exact
from headwise.stats.ranking import (
    ImportanceSums,
    bootstrap_sums,
    bootstrap_weights,
    correlation,
    ranks,
    ranks_of,
)

NAN = math.nan


def values(count, seed=0):
    """Head (1, 2) is not there; means rise with the head's number."""
    generator = np.random.default_rng(seed)
    found = generator.normal(size=(count, 2, 3)) + np.arange(6).reshape(2, 3) * 0.2
    found[:, 1, 2] = NAN
    return found


def test_shards_add_up_to_the_whole():
    data, numbers = values(50), np.arange(1000, 1050)
    data[7] = NAN
    whole = ImportanceSums.of(data, numbers)
    parts = ImportanceSums.of(data[30:], numbers[30:]) + ImportanceSums.of(data[:30], numbers[:30])
    assert whole.n == parts.n == 49
    np.testing.assert_array_equal(whole.weights, parts.weights)
    np.testing.assert_array_equal(whole.replicates, parts.replicates)
    one, other = whole.importance("x"), parts.importance("x")
    for name in ("mean", "standard_error", "rank_low", "rank_high"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_mean_and_error_are_those_of_the_examples():
    data = values(40)
    found = ImportanceSums.of(data, np.arange(40)).importance("x")
    np.testing.assert_allclose(found.mean, data.mean(0))
    np.testing.assert_allclose(found.standard_error, data.std(0, ddof=1) / math.sqrt(40))
    assert found.rank[1, 2] == found.rank_low[1, 2] == found.rank_high[1, 2] == -1
    assert (found.rank_low <= found.rank).all()
    assert (found.rank <= found.rank_high).all()


def test_no_example_is_refused():
    with pytest.raises(ValueError, match="at least one example"):
        ImportanceSums.of(np.full((2, 1, 1), NAN), np.arange(2)).importance("x")


def test_weights_are_poisson_and_depend_on_seed_and_number_alone():
    weights = bootstrap_weights(np.arange(2000), 200)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    for count, share in enumerate([math.exp(-1), math.exp(-1), math.exp(-1) / 2]):
        assert (weights == count).mean() == pytest.approx(share, abs=0.005)
    assert abs(np.corrcoef(weights[:-1].ravel(), weights[1:].ravel())[0, 1]) < 0.01
    np.testing.assert_array_equal(bootstrap_weights(np.array([17]))[0], weights[17])
    assert (bootstrap_weights(np.array([17]), seed=1)[0] != weights[17]).any()


def test_the_first_weights_never_change():
    """Stored sums of old shards must go with those of new ones."""
    found = bootstrap_weights(np.array([0, 1]), 12).astype(int).tolist()
    assert found == [[0, 0, 0, 1, 1, 0, 3, 4, 0, 0, 1, 0], [0, 0, 2, 1, 2, 1, 0, 1, 1, 0, 1, 2]]


def test_replicates_are_weighted_sums():
    data, numbers = values(9), np.arange(9)
    weights, sums = bootstrap_sums(data, numbers, 5, 3)
    each = bootstrap_weights(numbers, 5, 3)
    np.testing.assert_allclose(weights, each.sum(0))
    np.testing.assert_allclose(exact.total(sums)[4], (each[:, 4, None, None] * data).sum(0))


def test_ranks_break_ties_by_place_and_skip_what_is_not_there():
    found = ranks(np.array([[[1.0, 3.0, NAN], [3.0, 2.0, -1.0]]]))
    np.testing.assert_array_equal(found, [[[4, 1, -1], [2, 3, 5]]])


def test_rank_intervals_cover_the_replicates():
    """Head 0 is always first; heads 1 and 2 change places in every second replicate."""
    sums = np.tile([9.0, 2.0, 1.0], (100, 1))
    sums[::2, 1] = 0
    low, high = ranks_of(sums[:, None])
    assert low.tolist() == [[1, 2, 2]]
    assert high.tolist() == [[1, 3, 3]]


def test_intervals_hold_their_rank_as_often_as_they_say():
    """Of 200 data sets of six heads with known order, by simulation: at least 90 %."""
    held = 0
    for seed in range(200):
        data = values(60, seed)[:, :, :2]
        sums = exact.total(bootstrap_sums(data, np.arange(60), seed=seed)[1])
        low, high = ranks_of(sums)
        true = ranks((np.arange(6).reshape(2, 3) * 0.2)[None, :, :2])[0]
        held += ((low <= true) & (true <= high)).mean()
    assert held / 200 > 0.9


def test_correlation_is_pearsons_and_spearmans():
    a = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, NAN]])
    b = np.array([[1.0, 3.0, 2.0], [50.0, 60.0, 0.0]])
    found = correlation(a, b)
    assert found.n == 5
    assert found.pearson == pytest.approx(np.corrcoef(a[~np.isnan(a)], b[~np.isnan(a)])[0, 1])
    # Ranks 1 2 3 4.5 4.5 and 1 3 2 4 5.
    assert found.spearman == pytest.approx(np.corrcoef([1, 2, 3, 4.5, 4.5], [1, 3, 2, 4, 5])[0, 1])
    assert math.isnan(correlation(a, np.ones((2, 3))).pearson)
    with pytest.raises(ValueError, match="cannot be compared"):
        correlation(a, np.ones((2, 2)))
