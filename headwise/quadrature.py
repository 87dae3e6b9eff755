"""Quadrature rules on [0, 1]."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwise.errors import OptionError

_MAX_POINTS = 4096


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Integral of f over [0, 1] as the sum of weights * f(nodes); both float64 [m]."""

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]


def gauss_legendre(m: int) -> Rule:
    """The m-point Gauss-Legendre rule, exact for polynomials of degree 2m - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(m)
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
    if m > _MAX_POINTS:
        raise OptionError(f"integration {integration!r}: at most {_MAX_POINTS} points")
    return gauss_legendre(m) if match[1] == "gauss-legendre" else left_riemann(m)
