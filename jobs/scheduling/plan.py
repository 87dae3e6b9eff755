"""Dividing a job into blocks and shards, and estimating how long it will take.

A block is a range of examples that are computed together; blocks are fixed when the job is planned.
A shard is a range of blocks that a worker leases; its end is decided when it is claimed and may
change until it is committed, so results do not depend on shards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from jobs.formatting import time_range
from jobs.scheduling.estimates import Experience

MAX_SHARD_EXAMPLES = 20_000
MAX_RANGES = 64
MIN_BLOCK, MAX_BLOCK = 8, 256
LEAST_BLOCKS = 8
"""Even small jobs have about this many blocks, so that several workers can share them."""
BLOCK_SECONDS = 64.0


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A lease on the examples lo .. hi - 1 of a job."""

    job_id: int
    shard_no: int
    fence: int
    lo: int
    hi: int
    block: int = 0
    """Examples that are computed together; 0: all of the shard's."""

    @property
    def key(self) -> dict[str, int]:
        """The values that identify this lease in a statement."""
        return {"job_id": self.job_id, "shard_no": self.shard_no, "fence": self.fence}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate of a job before it is submitted."""

    examples: int
    shards: int
    """Approximate: workers decide as they claim."""
    seconds: float | None
    """Seconds that the workers that are alive take; None before anything was measured."""
    low_seconds: float | None = None
    high_seconds: float | None = None
    """In eight of ten cases it takes from the low to the high number of seconds."""
    time: str = ""
    """The range in words; empty while it is unknown."""
    basis: str
    bytes: int | None = None
    """Bytes that its texts and results take in the database, about; None while it is unknown."""


def block_size(examples: int, seconds_per_example: float, layers: int | None) -> int:
    """Return the number of examples in a block.

    Results may differ in their last digits with what is computed together, so the size depends on
    the job alone: never on measurements or workers. Larger blocks fill batches better; with smaller
    ones a worker can stop sooner without losing results. A block takes at most BLOCK_SECONDS at the
    kind's assumed speed on two CPU cores.

    seconds_per_example: assumed for a model of 6 layers; deeper models are wider too
    """
    guessed = seconds_per_example * max(1.0, ((layers or 6) / 6) ** 2)
    by_time = max(1, min(MAX_BLOCK, int(BLOCK_SECONDS / max(guessed, 1e-9))))
    by_share = max(MIN_BLOCK, math.ceil(examples / LEAST_BLOCKS))
    # Powers of two, so that blocks can be halved down to single examples.
    return min(1 << (by_time.bit_length() - 1), 1 << (by_share - 1).bit_length())


def _block_of(example: int, block: int) -> tuple[int, int]:
    """Return [lo, hi) of the block that an example is in.

    The first MIN_BLOCK examples of a job are a block of their own, so that its first results come
    soon.
    """
    if example >= block:
        lo = example // block * block
        return lo, lo + block
    first = min(MIN_BLOCK, block)
    return (0, first) if example < first else (first, block)


def block_start(example: int, block: int) -> int:
    """Start of the block that an example is in."""
    return _block_of(example, block)[0]


def block_end(lo: int, hi: int, block: int) -> int:
    """End of the first block of lo .. hi - 1. Block size 0 makes the whole range one block."""
    return min(hi, _block_of(lo, block)[1]) if block else hi


def blocks(lo: int, hi: int, block: int) -> Iterator[tuple[int, int]]:
    """Yield [lo, hi) of every block in a range."""
    while lo < hi:
        end = block_end(lo, hi, block)
        yield lo, end
        lo = end


def halves(lo: int, hi: int, block: int) -> int:
    """Middle of a range of at least two examples: between blocks, or within a single block."""
    middle = (lo + hi) // 2
    if block and hi > block_end(lo, hi, block):
        middle = max(block_end(lo, hi, block), block_start(middle, block))
    return middle


def take(*, left: int, block: int, pace: float | None, seconds: float, workers: int) -> int:
    """Return how many examples of a job a worker takes, in multiples of its block size.

    As many as it computes in `seconds`, but of several workers at most half of its fair share of
    what is left, so that shards become smaller towards the end and all finish at about the same
    time (guided self-scheduling, Polychronopoulos and Kuck 1987). One block while its pace, in
    seconds per example, is unknown.
    """
    by_time = seconds / max(pace, 1e-9) if pace else block
    fair = left // (2 * workers * block) if workers > 1 else math.ceil(left / block)
    return block * max(1, min(int(min(by_time, MAX_SHARD_EXAMPLES) / block), fair))


def taken_end(lo: int, count: int, block: int) -> int:
    """Return where the shard of a worker that takes so many examples from `lo` on ends.

    A job's first block is a shard of its own, so that it shows results after a few examples.
    """
    return block_start(lo + count, block) if lo else _block_of(0, block)[1]


def first_ranges(examples: int, block: int, workers: int) -> list[tuple[int, int]]:
    """Return [lo, hi) of the ranges that shards are taken from: one per worker, of whole blocks.

    Two workers then rarely claim from the same range at once.
    """
    count = math.ceil(examples / block)
    ranges = max(1, min(workers, count, MAX_RANGES))
    cuts = [min(examples, count * i // ranges * block) for i in range(ranges + 1)]
    return list(pairwise(cuts))


def estimate(
    examples: int,
    found: Experience | None,
    *,
    cost: float,
    unit_seconds: float,
    shard_seconds: float,
    workers: int,
) -> Estimate:
    """Estimate shards and time for a number of examples of that cost each.

    unit_seconds: assumed for shards while nothing was measured
    """
    unit = found.unit.middle if found else unit_seconds
    by_time = max(1, min(MAX_SHARD_EXAMPLES, int(shard_seconds / max(unit * cost, 1e-9))))
    shards = max(math.ceil(examples / by_time), min(examples, workers), 1)
    if found is None:
        basis = "nothing measured yet; known after the first shards"
        return Estimate(examples=examples, shards=shards, seconds=None, basis=basis)
    units = examples * cost / max(1, min(workers, examples))
    low, middle, high = (
        found.start_seconds + units * seconds
        for seconds in (found.unit.low, found.unit.middle, found.unit.high)
    )
    return Estimate(
        examples=examples,
        shards=shards,
        seconds=middle,
        low_seconds=low,
        high_seconds=high,
        time=time_range(low, high),
        basis=found.basis,
    )
