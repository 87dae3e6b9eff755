"""The rules against the integrals of polynomials, in double precision."""

from itertools import pairwise

import numpy as np
import pytest

from headwise.attribution.quadrature import (
    gauss_legendre,
    left_riemann,
    lobatto_levels,
    null_weights,
    parse_integration,
)
from headwise.errors import OptionError


def error(rule, degree):
    return abs(rule.weights @ rule.nodes**degree - 1 / (degree + 1))


@pytest.mark.parametrize("m", [1, 2, 7, 32])
def test_gauss_legendre_is_exact_to_degree_2m_minus_1(m):
    assert max(error(gauss_legendre(m), degree) for degree in range(2 * m)) < 1e-13
    assert error(gauss_legendre(m), 2 * m) > 1e-14 or m > 8


def test_left_riemann_takes_the_left_ends():
    rule = left_riemann(4)
    assert rule.nodes.tolist() == [0, 0.25, 0.5, 0.75]
    assert rule.weights.tolist() == [0.25] * 4


@pytest.mark.parametrize("interior", range(1, 9))
def test_levels_are_nested_positive_and_of_high_degree(interior):
    """Degrees: 2k + 1 for Gauss-Lobatto, at least 3k + 2 and 6k + 5 for the extensions."""
    levels = lobatto_levels(interior)
    sizes = [interior + 2, 2 * interior + 3, 4 * interior + 5]
    for level, size, degree in zip(
        levels, sizes, [2 * interior + 1, 3 * interior + 2, 6 * interior + 5], strict=True
    ):
        assert len(level.nodes) == size
        assert (level.weights > 0).all()
        assert level.nodes.min() == 0
        assert level.nodes.max() == 1
        assert max(error(level, d) for d in range(degree + 1)) < 1e-12
    for small, large in pairwise(levels):
        assert large.nodes[: len(small.nodes)].tolist() == small.nodes.tolist()


def test_null_weights_see_only_the_highest_degree():
    nodes = lobatto_levels(3)[0].nodes
    weights = null_weights(nodes)
    assert np.abs(weights).sum() == pytest.approx(1)
    for degree in range(len(nodes) - 1):
        assert abs(weights @ nodes**degree) < 1e-14
    assert abs(weights @ nodes ** (len(nodes) - 1)) > 1e-3


def test_names():
    assert parse_integration("auto") is None
    assert len(parse_integration("gauss-legendre:12").nodes) == 12
    assert parse_integration("left-riemann:20").nodes[1] == pytest.approx(0.05)


@pytest.mark.parametrize(
    "name",
    ["", "Auto", "gauss-legendre", "gauss-legendre:0", "left-riemann:-3", "simpson:4",
     "gauss-legendre:5000", "left-riemann:1e3"],
)  # fmt: skip
def test_bad_names_are_refused(name):
    with pytest.raises(OptionError, match="integration"):
        parse_integration(name)
