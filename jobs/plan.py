"""Cutting a job into shards, and estimating how long it will take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_SHARD_EXAMPLES = 20_000
RATE_WINDOW = 120.0
"""Seconds that a running job's rate looks back."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A speed: seconds for a unit of a kind's cost, see `JobSpec.cost`."""

    seconds_per_unit: float
    basis: str
    """Where it comes from, in words."""
    measured: bool = True


def guess(unit_seconds: float) -> Rate:
    """The speed of a kind before anything was measured."""
    basis = "nothing measured yet; the first shards will tell"
    return Rate(seconds_per_unit=unit_seconds, basis=basis, measured=False)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a job will take, before it is submitted."""

    examples: int
    shards: int
    seconds: float | None
    """Wall-clock seconds with the workers that are alive; None before anything was measured."""
    basis: str


def shard_size(
    examples: int, seconds_per_example: float, shard_seconds: float, workers: int
) -> int:
    """Examples per shard: about `shard_seconds` of work, but a share for every worker."""
    by_time = max(1, int(shard_seconds / max(seconds_per_example, 1e-6)))
    by_share = math.ceil(examples / max(1, workers))
    return max(1, min(by_time, by_share, MAX_SHARD_EXAMPLES))


def shard_bounds(examples: int, size: int) -> list[tuple[int, int]]:
    """[lo, hi) of every shard; sizes differ by one at most."""
    count = math.ceil(examples / size)
    cuts = [examples * i // count for i in range(count + 1)]
    return list(pairwise(cuts))


def estimate(
    examples: int, rate: Rate, cost: float, shard_seconds: float, workers: int
) -> Estimate:
    """Shards and time for a number of examples of that cost each."""
    seconds = rate.seconds_per_unit * cost
    shards = len(shard_bounds(examples, shard_size(examples, seconds, shard_seconds, workers)))
    return Estimate(
        examples=examples,
        shards=shards,
        seconds=examples * seconds / max(1, workers) if rate.measured else None,
        basis=rate.basis,
    )


def recent_rate(
    attempts: Sequence[tuple[float, float | None, int | None]], now: float
) -> float | None:
    """Examples per second over the last RATE_WINDOW seconds, all workers together.

    `attempts` holds start, end (None: running) and examples. Each counts by the share of its time
    that lies in the window, so the rate moves smoothly while shards come and go.
    """
    since = now - RATE_WINDOW
    spans = [(start, end or now, n or 0) for start, end, n in attempts]
    done = sum(
        n * (end - max(start, since)) / (end - start)
        for start, end, n in spans
        if end > max(start, since)
    )
    first = min((max(start, since) for start, _, _ in spans), default=now)
    return done / (now - first) if done > 0 and now > first else None
