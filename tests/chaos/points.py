"""Points of the code at which faults are laid; `tests.chaos.process` defines them."""

from __future__ import annotations

import random
from collections.abc import Callable

Laid = list[tuple[str, str]]
"""Points, and what the first process to pass each is to do."""


def at(*points: str, do: str = "kill") -> Callable[[random.Random], Laid]:
    """One of the points."""
    return lambda chance: [(step(chance.choice(points), chance), do)]


def both(*parts: Callable[[random.Random], Laid]) -> Callable[[random.Random], Laid]:
    """Faults that need each other."""
    return lambda chance: [laid for part in parts for laid in part(chance)]


def step(point: str, chance: random.Random) -> str:
    """One of the points that "commit.1-12" stands for."""
    name, _, steps = point.partition(".")
    if "-" in steps:
        low, high = map(int, steps.split("-"))
        steps = str(chance.randint(low, high))
    return f"{name}.{steps}" if steps else name
