"""Cutting shards: the end of one becomes a ready shard of its own.

Every function runs in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

from db.queue.sql import CUT_OFF, HOLD, HOLD_IF_FREE, SHORTEN
from db.transaction import Transaction
from jobs.scheduling.plan import Lease


@dataclass(frozen=True, kw_only=True)
class LeasedShard(Lease):
    """A leased shard whose row the transaction has locked."""

    errors: int
    losses: int


@dataclass(frozen=True, kw_only=True)
class History:
    """The failures that count against a shard."""

    errors: int = 0
    losses: int = 0
    error: str | None = None
    """Message of the last one."""
    wait: float = 0.0
    """Seconds until the shard may be tried again."""


UNTRIED = History()


def lock(tx: Transaction, key: dict[str, int], *, wait: bool = True) -> LeasedShard | None:
    """Lock a leased shard; None if it has ended, or another attempt has it.

    wait: for another transaction that has it locked; otherwise the result is None then, too
    """
    rows = tx.rows(HOLD if wait else HOLD_IF_FREE, **key)
    return LeasedShard(**rows[0]) if rows else None


def shorten(tx: Transaction, key: dict[str, int], hi: int) -> bool:
    """End a locked shard at `hi`; False if it has ended or does not reach that far."""
    return bool(tx.run(SHORTEN, **key, hi=hi).rowcount)


def cut_off(tx: Transaction, job_id: int, lo: int, hi: int, history: History = UNTRIED) -> None:
    """Make the end of a shard a ready shard, numbered by its first example."""
    tx.run(CUT_OFF, job_id=job_id, lo=lo, hi=hi, **history.__dict__)
