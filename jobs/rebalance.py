"""Who gives work away: slow tails to idle workers, and room for a job of higher priority.

Nothing that a worker has computed is lost: a lease is shortened behind the block in progress, or
before it where its worker is far slower than the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.plan import block_end

WORTH_SECONDS = 5.0
"""Less than this is not worth another shard."""
SLOW = 5.0
"""A worker that needs so many times as long as its job's average is too slow for its last block."""
SLOW_SECONDS = 60.0
"""After this time at the earliest."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A shard that a worker holds, and how far it is."""

    job_id: int
    shard_no: int
    fence: int
    lo: int
    hi: int
    block: int
    progress: int
    """Examples computed, as the worker last said."""
    pace: float
    """Seconds per example that it expected when it claimed."""
    elapsed: float
    """Seconds since then."""
    losses: int
    priority: int
    queue: str

    @property
    def behind(self) -> int:
        """Where the block in progress ends; what is behind it is untouched."""
        return block_end(self.lo + self.progress, self.hi, self.block)

    @property
    def done(self) -> int:
        """Where the last computed block ends."""
        return max(self.lo, (self.lo + self.progress) // self.block * self.block)

    @property
    def left(self) -> float:
        """Seconds that the untouched blocks take, by the slower of expectation and progress."""
        seen = self.elapsed / self.progress if self.progress else 0.0
        return (self.hi - self.behind) * max(self.pace, seen)


def tails(leases: Iterable[Lease], idle: int) -> list[tuple[Lease, int]]:
    """(lease, new end) for as many idle workers: the longest tails give half of their blocks."""
    long = sorted((lease for lease in leases if lease.left >= WORTH_SECONDS), key=_longest)
    return [(lease, lease.behind + _half(lease)) for lease in long[:idle]]


def room(leases: Iterable[Lease], priority: int, wanted: int) -> list[tuple[Lease, int]]:
    """(lease, new end) so that `wanted` workers soon ask for something of that priority.

    Shards of lower priority end with the block in progress; those that do so anyway count.
    """
    lower = [lease for lease in leases if lease.priority < priority]
    soon = sum(lease.behind == lease.hi for lease in lower)
    long = sorted((lease for lease in lower if lease.behind < lease.hi), key=_lowest)
    return [(lease, lease.behind) for lease in long[: max(0, wanted - soon)]]


def too_slow(lease: Lease, typical: float) -> bool:
    """Whether a lease should have ended long ago at its job's `typical` seconds per example."""
    expected = typical * (lease.progress + lease.block)
    return lease.behind == lease.hi and lease.elapsed > max(SLOW_SECONDS, SLOW * expected)


def _longest(lease: Lease) -> tuple[float, int, int]:
    return (-lease.left, lease.job_id, lease.shard_no)


def _lowest(lease: Lease) -> tuple[int, float, int, int]:
    return (lease.priority, *_longest(lease))


def _half(lease: Lease) -> int:
    """Examples of half of the untouched blocks; all but one block of two are given away first."""
    blocks = -(-(lease.hi - lease.behind) // lease.block)
    return blocks // 2 * lease.block
