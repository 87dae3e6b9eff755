"""Choosing leases to shorten: slow tails for idle workers, room for jobs of higher priority.

Nothing that a worker has computed is lost: a lease is cut after the block in progress, or before it
if its worker is far slower than the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.scheduling.plan import Lease, block_end, block_start

WORTH_SECONDS = 5.0
"""A tail shorter than this is not worth another shard."""
SLOW = 5.0
"""A worker that takes this many times its job's average is too slow for its last block."""
SLOW_SECONDS = 60.0
"""No worker is called too slow before it has held its lease for this long."""


@dataclass(frozen=True, kw_only=True)
class HeldLease(Lease):
    """A lease and the progress of its worker."""

    progress: int
    """Examples computed at the last heartbeat."""
    pace: float
    """Seconds per example that the worker expected when it claimed the shard."""
    elapsed: float
    """Seconds since then."""
    losses: int
    priority: int
    queue: str

    @property
    def untouched(self) -> int:
        """End of the block in progress; nobody has started the blocks after it."""
        return block_end(self.lo + self.progress, self.hi, self.block)

    @property
    def done(self) -> int:
        """End of the last computed block."""
        return max(self.lo, block_start(self.lo + self.progress, self.block))

    @property
    def left(self) -> float:
        """Seconds that the untouched blocks take, by the slower of expected and actual pace."""
        seen = self.elapsed / self.progress if self.progress else 0.0
        return (self.hi - self.untouched) * max(self.pace, seen)


def tails(leases: Iterable[HeldLease], idle: int) -> list[tuple[HeldLease, int]]:
    """Return (lease, new end) of the longest tails, one for each idle worker.

    Each gives half of its untouched blocks away.
    """
    long = sorted((lease for lease in leases if lease.left >= WORTH_SECONDS), key=_longest)
    return [(lease, _middle(lease)) for lease in long[:idle]]


def room(leases: Iterable[HeldLease], priority: int, wanted: int) -> list[tuple[HeldLease, int]]:
    """Return (lease, new end) so that `wanted` workers soon claim shards of that priority.

    Leases of lower priority are cut after the block in progress; those in their last block count
    towards `wanted`.
    """
    lower = [lease for lease in leases if lease.priority < priority]
    soon = sum(lease.untouched == lease.hi for lease in lower)
    long = sorted((lease for lease in lower if lease.untouched < lease.hi), key=_lowest)
    return [(lease, lease.untouched) for lease in long[: max(0, wanted - soon)]]


def too_slow(lease: HeldLease, typical: float) -> bool:
    """True if a lease should have ended long ago, given its job's `typical` seconds per example."""
    expected = typical * (lease.progress + lease.block)
    return lease.untouched == lease.hi and lease.elapsed > max(SLOW_SECONDS, SLOW * expected)


def _longest(lease: HeldLease) -> tuple[float, int, int]:
    return (-lease.left, lease.job_id, lease.shard_no)


def _lowest(lease: HeldLease) -> tuple[int, float, int, int]:
    return (lease.priority, *_longest(lease))


def _middle(lease: HeldLease) -> int:
    """Example before which half of the untouched blocks lie, rounded down; the later ones are given
    away."""
    left = lease.hi - lease.untouched
    half = max(left // 2, -(-left // lease.block) // 2 * lease.block)
    return max(lease.untouched, block_start(lease.untouched + half, lease.block))
