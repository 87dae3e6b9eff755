"""Shares of users in the workers: weights, the half-life of usage, and the ageing bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

from jobs.people import fold

LEAST_WEIGHT, LARGEST_WEIGHT = 0.01, 100.0


@dataclass(frozen=True, kw_only=True)
class FairShare:
    """The rules of an installation; the scheduler writes them into the database."""

    half_life: float
    """Seconds after which computing time that a user has had counts half."""
    ageing: int
    """A user who was passed over for this many shards comes first; 0 for never."""
    weights: tuple[tuple[str, float], ...] = ()
    """Patterns of user names and the weight of each such user; the first that matches counts."""

    def weight(self, user: str) -> float:
        """Return a user's weight: with 2, a user gets twice the share of one with 1."""
        name = fold(user)
        return next((w for pattern, w in self.weights if fnmatchcase(name, fold(pattern))), 1.0)


def parse_weights(text: str) -> tuple[tuple[str, float], ...]:
    """Read weights such as `ann=2, nlp-*=3`. Raises ValueError."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        pattern, equals, number = (piece.strip() for piece in part.rpartition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not equals or not pattern or not LEAST_WEIGHT <= weight <= LARGEST_WEIGHT:
            raise ValueError(
                f"has {part!r}: each part is NAME=WEIGHT, with a weight from {LEAST_WEIGHT:g} to "
                f"{LARGEST_WEIGHT:g}"
            )
        found.append((pattern, weight))
    return tuple(found)
