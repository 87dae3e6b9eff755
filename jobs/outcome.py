"""How an attempt at a shard ends: a value, not an exception trick."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.results import ShardResult


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What was computed; the store may still refuse it (a zombie's fence)."""

    parts: tuple[ShardResult, ...]
    """The shard's blocks in order, from its first example on; all of them, or only the first ones
    where the attempt had to end."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Errored:
    """The runner raised; the shard is tried again, up to its limit."""

    message: str
    permanent: bool = False
    """True where another try cannot help, e.g. weights that changed under the job."""
    in_block: bool = False
    """True where computing the block after the last computed one raised: one of its examples may
    be the reason. False where no example can be: a model that cannot be loaded, a full disk."""

    @property
    def why(self) -> str:
        """What ended the attempt, in words."""
        return self.message


@dataclass(frozen=True, kw_only=True)
class HandedBack:
    """Stopped on request (shutdown, pause, cancel); counts as nothing."""

    reason: str

    @property
    def why(self) -> str:
        """What ended the attempt, in words."""
        return f"handed back: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class LostLease:
    """Another worker may have the shard by now: whatever was computed is thrown away."""
