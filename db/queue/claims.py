"""The worker's side of the state machine: claim a shard, renew its lease, end the attempt.

A lease is identified by (job, shard, fence). A claim raises the shard's fence, so the statements of
an earlier holder touch no row.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from db.database import Database
from db.queue import partial_blocks, recovery
from db.queue.ask import ANYTHING, Ask, Shape, WorkerIdentity
from db.queue.attempts import begin_attempt, end_attempt
from db.queue.splitting import History, cut_off, lock, shorten
from db.queue.sql import (
    ALIVE,
    CANDIDATE,
    CLAIMABLE,
    COUNT_CLAIM,
    END_ATTEMPT,
    ENTER,
    FIRST_CLAIM,
    LEASE,
    LEASED,
    LEFT,
    LIMIT_LOCK,
    MOST_RANKED,
    PACE,
    PLANNING_AHEAD,
    POLL,
    RANKED,
    RELEASE,
    RENEW,
)
from db.transaction import Transaction
from jobs.outcome import AttemptEnd, AttemptOutcome, PartialBlock, Stage
from jobs.scheduling.plan import Lease, take, taken_end
from jobs.states import Control

CLAIM_TRIES = 6


@dataclass(frozen=True, kw_only=True)
class Claim(Lease):
    """A lease as a worker claimed it; it may have been shortened since."""

    shape: Shape = ("", None, None)
    cost: float = 1.0
    """Units of work per example."""
    progress: int = 0
    """Examples of the first block that earlier attempts have finished."""
    losses: int = 0
    """Workers that were lost with it."""


def claim(
    database: Database, who: WorkerIdentity, lease_seconds: float, ask: Ask = ANYTHING
) -> Claim | None:
    """Lease the best ready shard of the worker's queues, or its first part; None if there is none.

    Claims on PostgreSQL skip rows that others are claiming. If those were the only ones, the claim
    is retried: the other worker may have left a part.
    """
    for tried in range(CLAIM_TRIES):
        if tried:
            time.sleep(random.uniform(0.2, 1.0) * 0.02 * 2**tried)  # noqa: S311 - no secret
        with database.write() as tx:
            held = _claim(tx, who, lease_seconds, ask)
            if held is not None or database.dialect == "sqlite":
                return held
        claimable = database.value(CLAIMABLE, queues=who.queues)
        if not claimable or ask.user_limit or ask.queue_limit:
            return None
    return None


def _claim(
    tx: Transaction,
    who: WorkerIdentity,
    lease_seconds: float,
    ask: Ask,
) -> Claim | None:
    limits = {"user_limit": ask.user_limit, "queue_limit": ask.queue_limit}
    if any(limits.values()) and tx.dialect == "postgresql":
        tx.run(LIMIT_LOCK)
    wanted = {"queues": who.queues, "model": ask.model, "patience": ask.patience, "turn": ask.turn}
    ranked = tx.run(RANKED, **wanted | limits).all()
    found = _candidate(tx, ranked)
    if found is None:
        return None
    job, row = found
    shape: Shape = (job.kind, job.layers, job.heads)
    pace = _pace(tx, who, ask, job, shape) if ask.seconds < math.inf else None
    hi = row.hi
    if job.block and ask.seconds < math.inf:
        hi = min(hi, _end(tx, ask, job, row.lo, pace))
    place = {"job_id": job.job_id, "shard_no": row.shard_no, "fence": row.fence}
    lease = {"worker": who.name, "lease": lease_seconds, "hi": hi, "pace": pace}
    leased = tx.run(LEASE, **place, **lease).one()
    if hi < row.hi:
        cut_off(tx, job.job_id, hi, row.hi, History(losses=row.losses))
    held = Claim(
        job_id=job.job_id,
        shard_no=row.shard_no,
        fence=leased.fence,
        lo=row.lo,
        hi=hi,
        block=job.block,
        shape=shape,
        cost=job.cost,
        progress=leased.progress,
        losses=row.losses,
    )
    if job.passed > 0 or _contested(job, ranked):
        _count(tx, job)
    worker = {"worker": who.name, "device": who.device, "versions": who.versions}
    begin_attempt(tx, held.key, worker)
    return held


def _count(tx: Transaction, job: Row[Any]) -> None:
    """Number a claim for which other users were passed over, or which ends the user's own wait."""
    names = ("queue", "priority", "user_name", "claims")
    values = {name: getattr(job, name) for name in names}
    if not tx.run(COUNT_CLAIM, **values).rowcount:
        tx.run(FIRST_CLAIM, **values)


def _contested(job: Row[Any], ranked: Sequence[Row[Any]]) -> bool:
    """Return True if another user waits at the job's priority, also where too many jobs to see."""
    place = (job.queue, job.priority)
    rivals = (one for one in ranked if (one.queue, one.priority) == place)
    return len(ranked) == MOST_RANKED or any(one.user_name != job.user_name for one in rivals)


def _candidate(tx: Transaction, ranked: Sequence[Row[Any]]) -> tuple[Row[Any], Row[Any]] | None:
    """Find the best job with a shard to lease, and lock the shard."""
    for job in ranked:
        shard = tx.run(CANDIDATE, job_id=job.job_id).first()
        if shard is not None:
            return job, shard
    return None


def _pace(
    tx: Transaction,
    who: WorkerIdentity,
    ask: Ask,
    job: Row[Any],
    shape: Shape,
) -> float | None:
    """Return the worker's seconds per example, measured by itself or by others on such devices."""
    if shape not in ask.paces:
        kind, layers, heads = shape
        # "cuda:1 NVIDIA H100" is as fast as "cuda:0 NVIDIA H100".
        device = "cuda% " + who.device.partition(" ")[2] if " " in who.device else who.device
        values = {"kind": kind, "layers": layers, "heads": heads, "device": device}
        known = tx.run(PACE, **values).scalar()
        if known is None:
            return None
        ask.paces[shape] = float(known)
    return ask.paces[shape] * float(job.cost)


def _end(tx: Transaction, ask: Ask, job: Row[Any], lo: int, pace: float | None) -> int:
    """Return where the worker's part of a ready shard ends."""
    alive = tx.run(ALIVE, grace=ask.grace, queue=job.queue)
    left = tx.run(LEFT, job_id=job.job_id)
    count = take(
        left=int(left.scalar_one()),
        block=job.block,
        pace=pace,
        seconds=ask.seconds,
        workers=int(alive.scalar_one()),
    )
    return taken_end(lo, count, job.block)


@dataclass(frozen=True, kw_only=True)
class LeaseStatus:
    """A lease as it is now."""

    control: Control
    """The user's request for the job."""
    hi: int
    """End of the lease."""


def poll(database: Database, held: Claim) -> LeaseStatus | None:
    """Read a lease's status; None if it is lost."""
    rows = database.rows(POLL, **held.key)
    return LeaseStatus(control=Control(rows[0]["control"]), hi=rows[0]["hi"]) if rows else None


def planning_ahead(database: Database, who: WorkerIdentity) -> bool:
    """Return True if jobs of the worker's queues are about to be planned."""
    return bool(database.value(PLANNING_AHEAD, queues=who.queues))


def renew(
    database: Database, held: Claim, progress: int, lease_seconds: float, still: float = 0.0
) -> Control | None:
    """Renew the lease of a shard that has made no progress for `still` seconds.

    Returns the user's request for the job, or None if the lease is lost.
    """
    values = {**held.key, "lease": lease_seconds, "progress": progress, "still": still}
    with database.write() as tx:
        tx.run(RENEW, **values)
        row = tx.run(POLL, **held.key).first()
    return None if row is None else Control(row.control)


def enter(database: Database, held: Claim, stage: Stage) -> None:
    """Store where an attempt is, for the case that its worker is lost there."""
    with database.write() as tx:
        tx.run(ENTER, **held.key, stage=stage.value)


def give_away(database: Database, held: Lease, hi: int) -> bool:
    """End a lease at `hi` and make the rest ready.

    False if it is lost, ends there anyway, or is being committed.
    """
    with database.write() as tx:
        shard = lock(tx, held.key, wait=False)
        if shard is None or not shorten(tx, held.key, hi):
            return False
        cut_off(tx, held.job_id, hi, shard.hi)
    return True


def hand_back(
    database: Database, held: Claim, reason: str, partial: PartialBlock | None = None
) -> None:
    """Return a shard unfinished; nothing counts against it.

    partial: what is finished of its first block, for the next attempt
    """
    packed = None if partial is None else partial_blocks.packed(partial)
    with database.write() as tx:
        if packed is not None and lock(tx, held.key) is not None:
            partial_blocks.write(tx, held.job_id, packed)
        released = tx.run(RELEASE, **held.key).rowcount
        outcome = AttemptOutcome.HANDED_BACK if released else AttemptOutcome.LOST
        end_attempt(tx, held.key, AttemptEnd(outcome=outcome, error=reason))


def hand_back_all(database: Database, reason: str) -> None:
    """Return every leased shard, in a database that no worker uses: a restored one.

    Nothing counts against the shards. Their users' computing time is left alone: that since the
    copy was made is not theirs.
    """
    with database.write() as tx:
        for row in tx.rows(LEASED):
            tx.run(RELEASE, **row)
            end = {"outcome": AttemptOutcome.HANDED_BACK.value, "error": reason}
            tx.run(END_ATTEMPT, **row, **end, examples=None, seconds=None)


def record_error(
    database: Database,
    held: Claim,
    message: str,
    *,
    permanent: bool = False,
    whole_job: bool = False,
    in_block: bool = False,
) -> None:
    """Record that an attempt raised an error before it had computed a block.

    permanent: another try would raise the same; the shard fails
    whole_job: and so would every other shard: those that are ready fail, unless one is done
    in_block: computing the first block raised, so one of its examples may be the cause
    """
    with database.write() as tx:
        shard = lock(tx, held.key)
        if shard is not None and permanent:
            recovery.fail(tx, shard, message, whole_job=whole_job)
        elif shard is not None:
            recovery.count_error(tx, shard, message, in_block=in_block)
        end_attempt(tx, held.key, AttemptEnd(outcome=AttemptOutcome.ERROR, error=message))
