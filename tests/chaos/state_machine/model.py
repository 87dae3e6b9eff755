"""A model of the database: jobs and shards in memory, and the changes that it should make."""

from __future__ import annotations

from dataclasses import dataclass, field

from db.queue.ask import Ask

EXAMPLES, SIZE, BLOCK = 8, 4, 2
LEASE = 1000.0


ONE_BLOCK = Ask(seconds=1e-9)
"""The request of a slow worker."""


JUMPS = (-300.0, 300.0, 1200.0, 3000.0)
"""No sum of them is a lease or a backoff: nothing ends at the very moment it is looked at."""


FINAL = ("succeeded", "failed", "cancelled")


def backoff(errors: int) -> float:
    """Instead of seconds, which would really pass."""
    return 400.0 * errors + 50.0


@dataclass
class Shard:
    """The model's facts about a shard."""

    lo: int
    hi: int
    state: str = "ready"
    fence: int = 0
    errors: int = 0
    losses: int = 0
    left: float = 0.0
    """Seconds until its lease ends."""
    wait: float = 0.0
    """Seconds until it may be claimed."""
    bad: bool = False
    """Its only example was found to be bad."""

    def cut(self, at: int, **past: int) -> Shard:
        """It ends there from now on; returns the rest, which is ready."""
        rest = Shard(at, self.hi, **past)
        self.hi = at
        return rest


@dataclass
class Job:
    """The model's facts about a job."""

    state: str = "queued"
    control: str = "run"
    shards: dict[int, Shard] = field(default_factory=dict)

    def add(self, rest: Shard) -> None:
        self.shards[rest.lo] = rest

    def bad_examples(self) -> frozenset[int]:
        return frozenset(shard.lo for shard in self.shards.values() if shard.bad)

    def open_shards(self) -> bool:
        return any(shard.state in ("ready", "leased") for shard in self.shards.values())
