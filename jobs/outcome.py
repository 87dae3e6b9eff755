"""How an attempt at a shard ends: a value, not an exception trick."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.results import ShardResult


@dataclass(frozen=True, kw_only=True)
class Completed:
    """Everything was computed; the store may still refuse it (a zombie's fence)."""

    result: ShardResult
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Errored:
    """The runner raised; the shard is tried again, up to its limit."""

    message: str
    permanent: bool = False
    """True where another try cannot help, e.g. weights that changed under the job."""


@dataclass(frozen=True, kw_only=True)
class HandedBack:
    """Stopped on request (shutdown, pause, cancel); counts as nothing."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class LostLease:
    """Another worker may have the shard by now: whatever was computed is thrown away."""


Outcome = Completed | Errored | HandedBack | LostLease
