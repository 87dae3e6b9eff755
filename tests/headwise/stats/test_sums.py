"""Accuracy, loss and macro F1 with their intervals, from sums over examples."""

import math

import numpy as np
import pytest

from headwise.stats.sums import MaskSums, choose_step


def sums_of(gold, predicted, classes=3, loss=None):
    predicted = np.array(predicted, dtype=np.int32)[None]
    loss = np.zeros(predicted.shape) if loss is None else np.array(loss)[None]
    return MaskSums.of(loss, predicted, np.array(gold, dtype=np.int32), classes)


def test_counts_leave_out_what_failed():
    sums = sums_of([0, 1, 2, 2], [0, 2, 2, -1], loss=[1.0, 2.0, 3.0, math.nan])
    assert sums.confusion[0].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert (sums.n[0], sums.failed[0], sums.loss_sum[0], sums.loss_squares[0]) == (3, 1, 6, 14)


def test_accuracy_has_wilsons_interval():
    """Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611."""
    value, low, high = sums_of([0] * 263, [0] * 81 + [1] * 182).accuracy()
    assert (low[0], high[0]) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert value[0] == 81 / 263
    _, low, high = sums_of([0] * 20, [1] * 20).accuracy()
    assert (low[0], high[0]) == pytest.approx((0, 0.1611), abs=5e-5)


def test_loss_has_the_normal_interval():
    losses = [1.0, 2.0, 4.0, 5.0]
    value, low, high = sums_of([0] * 4, [0] * 4, loss=losses).loss()
    half = 1.959964 * np.std(losses, ddof=1) / 2
    assert (value[0], low[0], high[0]) == pytest.approx((3, 3 - half, 3 + half))
    value, low, _ = sums_of([0], [0], loss=[2.0]).loss()
    assert value[0] == 2
    assert math.isnan(low[0])


def test_macro_f1_is_the_mean_of_the_classes_that_occur():
    # Class 0: precision 2/3, recall 1; class 1: 1 and 1/2; class 2 occurs nowhere.
    value, _, _ = sums_of([0, 0, 1, 1], [0, 0, 0, 1]).macro_f1()
    assert value[0] == pytest.approx((0.8 + 2 / 3) / 2)


def test_macro_f1s_interval_covers_the_truth_as_often_as_it_says():
    """2000 draws of 300 from a known confusion matrix: 93 to 97 %."""
    share = np.array([[0.3, 0.05, 0.05], [0.1, 0.2, 0.05], [0.02, 0.03, 0.2]])
    counts = np.random.default_rng(0).multinomial(300, share.ravel(), size=2000).reshape(-1, 3, 3)
    zeros = np.zeros(2000)
    drawn = MaskSums(loss_sum=zeros, loss_squares=zeros, confusion=counts, failed=counts[:, 0, 0])
    _, low, high = drawn.macro_f1()
    right = np.diag(share)
    true = (2 * right / (share.sum(0) + share.sum(1))).mean()
    assert 0.93 < ((low <= true) & (true <= high)).mean() < 0.97


def test_without_examples_nothing_is_known():
    sums = sums_of([0], [-1])
    for estimate in (sums.accuracy(), sums.loss(), sums.macro_f1()):
        assert np.isnan(estimate.value).all()


def test_the_last_that_passes_is_chosen():
    """Accuracies 0.8, 0.6, 0.7 and 0.5: with ten points the third passes, though not the second."""
    confusion = np.array([[[right, 10 - right], [0, 0]] for right in (8, 6, 7, 5)])
    zeros = np.zeros(4)
    sums = MaskSums(loss_sum=zeros, loss_squares=zeros, confusion=confusion, failed=zeros)
    assert choose_step(sums, 10) == 2
    assert choose_step(sums, 9.9) == 0
