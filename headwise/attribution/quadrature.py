"""Quadrature rules on [0, 1]."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from headwise.errors import OptionError

MAX_POINTS = 4096


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Integral of f over [0, 1] as the sum of weights * f(nodes); both float64 [m]."""

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]


def gauss_legendre(m: int) -> Rule:
    """The m-point Gauss-Legendre rule, exact for polynomials of degree 2m - 1."""
    nodes, weights = legendre.leggauss(m)
    return Rule(nodes=(nodes + 1) / 2, weights=weights / 2)


def left_riemann(m: int) -> Rule:
    """Points 0, 1/m, ..., (m-1)/m with equal weights, as in the paper's code."""
    return Rule(nodes=np.arange(m) / m, weights=np.full(m, 1 / m))


def parse_integration(integration: str) -> Rule | None:
    """The rule named ``gauss-legendre:m`` or ``left-riemann:m``; None for ``auto``."""
    if integration == "auto":
        return None
    match = re.fullmatch(r"(gauss-legendre|left-riemann):([1-9]\d*)", integration)
    if match is None:
        raise OptionError(
            f"integration {integration!r} is unknown; use 'auto', 'gauss-legendre:m' or "
            "'left-riemann:m' with m points"
        )
    m = int(match[2])
    if m > MAX_POINTS:
        raise OptionError(f"integration {integration!r}: at most {MAX_POINTS} points")
    return gauss_legendre(m) if match[1] == "gauss-legendre" else left_riemann(m)


@cache
def lobatto_levels(interior: int) -> tuple[Rule, ...]:
    """Three nested rules with both ends among their nodes, for integration to a tolerance.

    The first is Gauss-Lobatto with k = ``interior`` interior nodes; the others are its optimal
    extensions (Kronrod 1965, Patterson 1968) to 2k + 1 and 4k + 3. Each lists the two ends first,
    then the nodes of the previous rule, then its own. All weights are positive (k from 0, the
    trapezoidal rule, to 8).
    """
    highest = np.zeros(interior + 2)
    highest[-1] = 1
    inner = legendre.legroots(legendre.legder(highest)).real
    nodes = np.concatenate([[-1.0, 1.0], np.sort(inner)])
    rules = [_interpolatory(nodes)]
    added = interior + 1
    for _ in range(2):
        nodes = np.concatenate([nodes, _optimal_extension(nodes, added)])
        rules.append(_interpolatory(nodes))
        added *= 2
    return tuple(rules)


def null_weights(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the divided difference over all nodes, scaled to a sum of magnitudes of 1.

    They give zero for every polynomial that fewer nodes would integrate exactly, and otherwise
    measure the contribution of the last node.
    """
    gaps = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(gaps, 1)
    weights = 1 / (4 * gaps).prod(axis=1)  # times 4: the capacity of [0, 1] is 1/4
    scaled: NDArray[np.float64] = weights / np.abs(weights).sum()
    return scaled


def _interpolatory(nodes: NDArray[np.float64]) -> Rule:
    """The rule that is exact for polynomials of degree len(nodes) - 1; nodes on [-1, 1]."""
    moments = np.zeros(len(nodes))
    moments[0] = 1
    weights = np.linalg.solve(legendre.legvander(nodes, len(nodes) - 1).T, moments)
    return Rule(nodes=(nodes + 1) / 2, weights=weights.astype(np.float64))


def _optimal_extension(nodes: NDArray[np.float64], added: int) -> NDArray[np.float64]:
    """The nodes that, added to these, give the highest degree of exactness (on [-1, 1]).

    They are the zeros of the polynomial E of degree ``added`` for which the integral of
    (product of x - node) E q is 0 for every polynomial q of a lower degree.
    """
    x, w = legendre.leggauss(len(nodes) + 2 * added)
    product = np.prod(2 * (x[:, None] - nodes), axis=1)
    basis = legendre.legvander(x, added)
    forms = basis.T @ (basis * (w * product)[:, None])
    lower = np.linalg.solve(forms[:added, :added], -forms[:added, added])
    return np.sort(legendre.legroots([*lower, 1.0]).real)
