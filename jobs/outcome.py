"""Endings of an attempt at a shard: values that the worker returns and the database stores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.results.base import ShardResult


class AttemptOutcome(StrEnum):
    """The outcome stored with an attempt, counted in metrics and shown on pages."""

    DONE = "done"
    """Its results are stored: those of the whole lease, or of the blocks computed so far."""
    ERROR = "error"
    HANDED_BACK = "handed-back"
    """Stopped on request before a block was computed; what it has of one is kept."""
    LOST = "lost"
    """Its lease expired or was taken back."""


@dataclass(frozen=True, kw_only=True)
class AttemptEnd:
    """The end of an attempt as it is stored and counted."""

    outcome: AttemptOutcome
    error: str | None = None
    """The reason that it did not compute all of its lease; None if it did."""
    examples: int | None = None
    """Examples whose results were stored."""
    failed: int = 0
    """Those of them without a result."""
    head_scores: int = 0
    seconds: float | None = None
    """Time that computing them took."""


class Stage(StrEnum):
    """The stage of an attempt, stored to tell what the loss of its worker can mean."""

    LOADING = "loading"
    """The model is being loaded: no example can be the cause of a loss."""
    COMPUTING = "computing"


class StopReason(StrEnum):
    """Reason to end a running attempt early. Pause and cancel have the values of `Control`."""

    PAUSE = "pause"
    CANCEL = "cancel"
    SHUTDOWN = "shutdown"
    UNAVAILABLE = "unavailable"
    """The database or the model hub does not answer."""
    SHORTENED = "shortened"
    """The lease now ends before the block in progress: another worker has the rest."""
    LEASE_LOST = "lease lost"
    """Another worker may have the shard: the results must be discarded."""


@dataclass(frozen=True, kw_only=True)
class PartialBlock:
    """The results of a block's finished batches, from attempts that were stopped."""

    lo: int
    """The block's first example."""
    hi: int
    """The example after its last one."""
    finished: tuple[int, ...]
    """The numbers of the examples with results, ascending."""
    result: ShardResult
    """Their results, in this order."""
    seconds: float
    """Time that computing them took."""
    fingerprint: str
    """The model that they were computed with."""

    def with_more(self, other: PartialBlock) -> PartialBlock:
        """Return this with the results of other examples of the block, computed later."""
        numbers = [*self.finished, *other.finished]
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        return replace(
            self,
            finished=tuple(sorted(numbers)),
            result=type(self.result).joined([self.result, other.result]).picked(order),
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Completed:
    """The blocks that an attempt has computed."""

    parts: tuple[ShardResult, ...]
    """The shard's blocks in order, from its first example on: all of them, or only the first ones
    where the attempt ended early."""
    seconds: float
    partial: PartialBlock | None = None
    """The block after them, if some of its batches are finished."""


@dataclass(frozen=True, kw_only=True)
class Errored:
    """An exception ended the attempt; the shard is tried again, up to its limit."""

    message: str
    permanent: bool = False
    """True if every shard of the job would raise it: the model's files cannot be used."""
    in_block: bool = False
    """True if computing the block after the last computed one raised, so one of its examples may be
    the cause. False if no example can be: a model that cannot be loaded, a full disk."""

    @property
    def error(self) -> str:
        """The error stored with the attempt."""
        return self.message


@dataclass(frozen=True, kw_only=True)
class HandedBack:
    """The attempt was stopped on request; it does not count as an error."""

    reason: StopReason
    detail: str = ""
    """More precise than the reason, e.g. the signal that ended the worker."""

    @property
    def message(self) -> str:
        """The reason as users read it."""
        return self.detail or str(self.reason)

    @property
    def error(self) -> str:
        """The error stored with an attempt that had computed some blocks."""
        return f"handed back: {self.message}"


@dataclass(frozen=True, kw_only=True)
class LostLease:
    """Another worker may have the shard by now: the results are discarded."""


Ending = HandedBack | Errored | LostLease | None
"""The end of an attempt; None if it computed all of its lease."""
