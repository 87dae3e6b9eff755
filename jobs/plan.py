"""Cutting a job into blocks and shards, and estimating how long it will take.

A block is what is computed together, fixed when the job is planned. A shard is a range of blocks
that a worker has leased; where it ends is decided when it is claimed, and may change until it is
committed. So results do not depend on shards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_SHARD_EXAMPLES = 20_000
MAX_RANGES = 64
MIN_BLOCK, MAX_BLOCK = 8, 256
LEAST_BLOCKS = 16
"""Even small jobs have about so many blocks, to be shared by several workers."""
BLOCK_SECONDS = 60.0
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
    """About so many: workers decide as they claim."""
    seconds: float | None
    """Wall-clock seconds with the workers that are alive; None before anything was measured."""
    basis: str


def block_size(examples: int, seconds_per_example: float, layers: int | None) -> int:
    """Examples that are computed together, whatever shard they are in.

    Results may differ in their last digits with what is computed together, so this depends on
    nothing but the job itself: never on what was measured, nor on workers. The larger, the better
    batches are filled; the smaller, the sooner a worker can stop without losing what it has
    computed. At most BLOCK_SECONDS by the kind's guessed speed on two CPU cores.

    seconds_per_example: guessed, for a model of 6 layers; deeper ones are wider, too
    """
    guessed = seconds_per_example * max(1.0, ((layers or 6) / 6) ** 2)
    by_time = max(1, min(MAX_BLOCK, int(BLOCK_SECONDS / max(guessed, 1e-9))))
    by_share = max(MIN_BLOCK, math.ceil(examples / LEAST_BLOCKS))
    # Powers of two, so that halves of blocks are halves again down to one example.
    return min(1 << (by_time.bit_length() - 1), 1 << (by_share - 1).bit_length())


def block_end(lo: int, hi: int, block: int) -> int:
    """Where the first block of lo .. hi - 1 ends. Without blocks (0) everything is one."""
    return min(hi, (lo // block + 1) * block) if block else hi


def blocks(lo: int, hi: int, block: int) -> Iterator[tuple[int, int]]:
    """[lo, hi) of every block in a range."""
    while lo < hi:
        end = block_end(lo, hi, block)
        yield lo, end
        lo = end


def halves(lo: int, hi: int, block: int) -> int:
    """Where to split a range of at least two examples: between blocks, or within a single one."""
    middle = (lo + hi) // 2
    if block and hi > block_end(lo, hi, block):
        middle = max(block_end(lo, hi, block), middle // block * block)
    return middle


def take(*, left: int, block: int, pace: float | None, seconds: float, workers: int) -> int:
    """Examples that a worker takes of a job: a number of whole blocks.

    As many as it does in `seconds`, but at most half a fair share of what is left for all
    workers, so that shards become smaller towards the end and all workers end at about the same
    time (guided self-scheduling, Polychronopoulos and Kuck 1987). One block where its pace, in
    seconds per example, is not known yet.
    """
    by_time = seconds / max(pace, 1e-9) if pace else block
    fair = left / (2 * max(1, workers))
    return block * max(1, int(min(by_time, fair, MAX_SHARD_EXAMPLES) / block))


def first_ranges(examples: int, block: int, workers: int) -> list[tuple[int, int]]:
    """[lo, hi) of the ranges that shards are taken from: one for every worker, of whole blocks.

    Two workers then rarely ask for a part of the same range at once.
    """
    count = math.ceil(examples / block)
    ranges = max(1, min(workers, count, MAX_RANGES))
    cuts = [min(examples, count * i // ranges * block) for i in range(ranges + 1)]
    return list(pairwise(cuts))


def estimate(
    examples: int, rate: Rate, cost: float, shard_seconds: float, workers: int
) -> Estimate:
    """Shards and time for a number of examples of that cost each."""
    seconds = rate.seconds_per_unit * cost
    by_time = max(1, min(MAX_SHARD_EXAMPLES, int(shard_seconds / max(seconds, 1e-9))))
    shards = max(math.ceil(examples / by_time), min(examples, workers), 1)
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
