"""Conditions that end a worker. Imports no torch: the command line reads it before it forks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StopConditions:
    """Conditions that end a worker; it ends when one of them is met."""

    shards: int | None = None
    """After this many attempts."""
    seconds: int | None = None
    """After this time; a shard in progress is handed back at its next batch."""
    drain: bool = False
    """End when no shard is ready and no job is about to be planned."""

    @property
    def any(self) -> bool:
        """True if there is at least one condition."""
        return self.drain or self.shards is not None or self.seconds is not None
