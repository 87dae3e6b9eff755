"""When a worker ends by itself. Without torch: the command reads it before it starts one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a worker ends by itself."""

    shards: int | None = None
    """After so many attempts."""
    seconds: int | None = None
    """After this time; a running shard is handed back at its next batch."""
    drain: bool = False
    """When no shard is ready and no job is about to be planned."""

    @property
    def some(self) -> bool:
        """Whether there is any limit."""
        return self.drain or self.shards is not None or self.seconds is not None
