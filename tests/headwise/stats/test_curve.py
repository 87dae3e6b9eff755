"""The heads that go, by share, by number, within layers, and by the notebook's rule."""

import math

import numpy as np
import pytest

from headwise.stats.curve import curve_masks, notebook_levels, notebook_mask

NAN = math.nan
MEAN = np.array([[5.0, 1.0, 3.0], [2.0, 2.0, NAN]])


def removed(mask):
    return [tuple(place) for place in np.argwhere(mask).tolist()]


def test_the_least_important_go_first():
    masks, counts = curve_masks(MEAN, steps=[0, 1, 2, 3, 5])
    assert counts.tolist() == [0, 1, 2, 3, 5]
    # Of the two equal ones the earlier counts as the more important.
    assert [removed(mask) for mask in masks[:4]] == [
        [],
        [(0, 1)],
        [(0, 1), (1, 1)],
        [(0, 1), (1, 0), (1, 1)],
    ]


def test_the_two_directions_complement_each_other():
    least, _ = curve_masks(MEAN, steps=range(6))
    most, _ = curve_masks(MEAN, steps=range(6), direction="most")
    real = ~np.isnan(MEAN)
    for k in range(6):
        np.testing.assert_array_equal(least[k] ^ most[5 - k], real)


def test_shares_are_of_the_heads_that_there_are():
    masks, counts = curve_masks(MEAN, shares=[0, 0.5, 1])
    assert counts.tolist() == [0, 3, 5]  # 2.5 is rounded up
    assert masks.shape == (3, 2, 3)
    assert len(curve_masks(MEAN)[0]) == 21


@pytest.mark.parametrize(
    ("direction", "want"), [("least", [(0, 1), (1, 1)]), ("most", [(0, 0), (1, 0)])]
)
def test_within_layers_each_loses_its_own(direction, want):
    masks, counts = curve_masks(MEAN, steps=[1, 3], direction=direction, within_layer=True)
    assert removed(masks[0]) == want
    assert counts.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "best"}, "direction 'best' is unknown"),
        ({"steps": [1], "shares": [0.1]}, "not both"),
        ({"steps": [6]}, "from 0 to 5 heads"),
        ({"steps": [4], "within_layer": True}, "from 0 to 3 heads"),
        ({"shares": [1.5]}, "shares must be from 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        curve_masks(MEAN, **options)


def test_the_notebooks_rule_as_it_is_written_there():
    mean = np.random.default_rng(0).random((12, 16)) ** 3
    flat = mean.ravel()
    levels = (255 * (flat - flat.min()) / (flat.max() - flat.min() + 1e-11)).astype(int)
    threshold = sorted(levels)[int(len(levels) * 0.35)]
    np.testing.assert_array_equal(notebook_levels(mean).ravel(), levels)
    np.testing.assert_array_equal(notebook_mask(mean).ravel(), ~(levels > threshold))


def test_the_notebooks_rule_spares_heads_that_are_not_there():
    assert notebook_levels(MEAN).tolist() == [[254, 0, 127], [63, 63, -1]]
    # The threshold is the second of five levels, which both equal ones have.
    assert removed(notebook_mask(MEAN)) == [(0, 1), (1, 0), (1, 1)]
