"""The worker's side of the state machine: claim, heartbeat, end of an attempt.

A lease is held by (job, shard, fence). Whoever claims a shard raises its fence, so every
statement of an earlier holder touches no row.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, insert

from db.database import Database
from db.ops import attempt_counts
from db.queue.splitting import cut_off, mark_bad, may_split, shorten, split
from db.queue.sql import (
    ALIVE,
    BEAT,
    CANDIDATE,
    CLAIMABLE,
    END_ATTEMPT,
    HEARTBEAT,
    HOLD,
    LEASE,
    LEFT,
    LIMIT_LOCK,
    PACE,
    PLANNING_AHEAD,
    POLL,
    RANKED,
    RECORD_ERROR,
    RELEASE,
)
from db.schema import attempt
from db.transaction import Transaction
from jobs.plan import block_end, take
from jobs.states import MAX_ERRORS, Control, backoff_seconds

CLAIM_TRIES = 6

Shape = tuple[str, int | None, int | None]
"""Kind of job, layers and heads of its model: what speeds are measured for."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A lease on the examples lo .. hi - 1 of a job."""

    job_id: int
    shard_no: int
    fence: int
    lo: int
    hi: int
    """As claimed; the lease may end earlier by now."""
    block: int = 0
    """Examples that are computed together; 0: all of the shard's."""
    shape: Shape = ("", None, None)
    cost: float = 1.0
    """Units of work per example."""

    @property
    def key(self) -> dict[str, int]:
        """What every statement needs to address this lease."""
        return {"job_id": self.job_id, "shard_no": self.shard_no, "fence": self.fence}


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a worker asks for; by default all of a ready shard, of any model, without limits."""

    seconds: float = math.inf
    """Work to take, by its pace."""
    paces: dict[Shape, float] = field(default_factory=dict)
    """Seconds per unit of cost that the worker takes; a claim adds what other workers measured."""
    grace: float = 25.0
    """Workers that were seen within so many seconds share what is left of a job."""
    model: str | None = None
    """The model that it has loaded, as in `job.model`: preferred."""
    patience: float = 120.0
    """Seconds after which a ready shard of another model is not passed over."""
    user_limit: int = 0
    """Most shards of one user that are leased at a time in a queue; 0: any number."""
    queue_limit: int = 0
    """Most shards that are leased at a time in a queue; 0: any number."""


ANYTHING = Ask()


@dataclass(frozen=True, kw_only=True)
class WorkerIdentity:
    """Who is working: stored with every attempt."""

    name: str
    host: str
    pid: int
    queue: str
    """The queues that it serves, separated by commas."""
    device: str
    versions: str

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it serves, none before another."""
        return tuple(self.queue.split(","))


def claim(
    database: Database, who: WorkerIdentity, lease_seconds: float, ask: Ask = ANYTHING
) -> Claim | None:
    """Lease the best ready shard of the worker's queues, or its first part; None without any.

    Claims on PostgreSQL skip rows that others are just claiming. Where those were all there is,
    this is tried again, as the other one has perhaps left a part.
    """
    for tried in range(CLAIM_TRIES):
        if tried:
            time.sleep(random.uniform(0.2, 1.0) * 0.02 * 2**tried)  # noqa: S311 - no secret
        with database.write() as tx:
            held = _claim(tx, who, lease_seconds, ask)
            if held is not None or database.dialect == "sqlite":
                return held
        with database.read() as tx:
            claimable = tx.run(CLAIMABLE, queues=who.queues)
            if not claimable.scalar() or ask.user_limit or ask.queue_limit:
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
    wish = {"queues": who.queues, "model": ask.model, "patience": ask.patience, **limits}
    found = _candidate(tx, wish)
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
    fence = tx.run(LEASE, **place, **lease).scalar_one()
    if hi < row.hi:
        cut_off(tx, job.job_id, hi, row.hi, losses=row.losses)
    held = Claim(
        job_id=job.job_id,
        shard_no=row.shard_no,
        fence=fence,
        lo=row.lo,
        hi=hi,
        block=job.block,
        shape=shape,
        cost=job.cost,
    )
    values = {
        **held.key,
        "worker": who.name,
        "device": who.device,
        "versions": who.versions,
        "started_at": tx.clock,
    }
    tx.execute(insert(attempt).values(values))
    return held


def _candidate(tx: Transaction, wish: dict[str, Any]) -> tuple[Row[Any], Row[Any]] | None:
    """The best job that has a shard to lease, and the shard, locked."""
    for job in tx.run(RANKED, **wish).all():
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
    """Seconds per example that the worker takes, as it or others on such a device measured."""
    if shape not in ask.paces:
        kind, layers, heads = shape
        # "cuda:1 NVIDIA H100" is like "cuda:0 NVIDIA H100".
        device = "cuda% " + who.device.partition(" ")[2] if " " in who.device else who.device
        values = {"kind": kind, "layers": layers, "heads": heads, "device": device}
        known = tx.run(PACE, **values).scalar()
        if known is None:
            return None
        ask.paces[shape] = float(known)
    return ask.paces[shape] * float(job.cost)


def _end(tx: Transaction, ask: Ask, job: Row[Any], lo: int, pace: float | None) -> int:
    """How far the worker's part of a ready shard reaches."""
    alive = tx.run(ALIVE, grace=ask.grace, queue=job.queue)
    left = tx.run(LEFT, job_id=job.job_id)
    block: int = job.block
    return lo // block * block + take(
        left=int(left.scalar_one()),
        block=block,
        pace=pace,
        seconds=ask.seconds,
        workers=int(alive.scalar_one()),
    )


def poll(database: Database, held: Claim) -> tuple[Control, int] | None:
    """What the user wants now and where the lease ends; None when it is lost. Writes nothing."""
    with database.read() as tx:
        row = tx.run(POLL, **held.key).first()
    return None if row is None else (Control(row.control), int(row.hi))


def planning_ahead(database: Database, who: WorkerIdentity) -> bool:
    """Whether jobs of the worker's queues are about to be cut into shards."""
    with database.read() as tx:
        return bool(tx.run(PLANNING_AHEAD, queues=who.queues).scalar())


def heartbeat(
    database: Database, held: Claim, progress: int, lease_seconds: float, still: float = 0.0
) -> Control | None:
    """Renew the lease of a shard that has not moved for `still` seconds.

    Returns what the user wants now, or None when the lease is lost.
    """
    values = {**held.key, "lease": lease_seconds, "progress": progress, "still": still}
    with database.write() as tx:
        control = tx.run(HEARTBEAT, **values).scalar()
    return None if control is None else Control(control)


def give_away(database: Database, held: Claim, hi: int) -> bool:
    """End a lease at `hi` and make the rest ready; False where it was lost or ends there anyway."""
    with database.write() as tx:
        row = tx.run(HOLD, **held.key).first()
        if row is None or not shorten(tx, held.key, hi):
            return False
        cut_off(tx, held.job_id, hi, row.hi)
    return True


def beat(
    database: Database,
    who: WorkerIdentity,
    state: str,
    held: Claim | None,
    beat_seconds: float | None = None,
    vitals: str | None = None,
) -> None:
    """Say that the worker is alive, in state idle, busy or stopped, what it holds and uses."""
    place = {"job_id": held.job_id, "shard_no": held.shard_no} if held else {}
    said = {"state": state, "beat_seconds": beat_seconds, "vitals": vitals}
    values = {**who.__dict__, **said, "job_id": None, "shard_no": None, **place}
    with database.write() as tx:
        tx.run(BEAT, **values)


def hand_back(database: Database, held: Claim, reason: str, log_tail: str = "") -> None:
    """Return a shard unfinished: nothing is counted against it."""
    with database.write() as tx:
        released = tx.run(RELEASE, **held.key).rowcount
        outcome = "handed-back" if released else "lost"
        end_attempt(tx, held, outcome=outcome, error=reason, log_tail=log_tail)


def record_error(
    database: Database,
    held: Claim,
    message: str,
    *,
    permanent: bool = False,
    in_block: bool = False,
    log_tail: str = "",
) -> None:
    """The attempt raised before a block was computed: the shard waits and is tried again.

    in_block: computing the first block raised. It then becomes a shard of its own, and at its limit
        it is halved instead of failed, down to the bad example, which is marked.
    """
    with database.write() as tx:
        row = tx.run(HOLD, **held.key).first()
        if row is not None:
            _count_error(tx, held, row, message, permanent, in_block)
        end_attempt(tx, held, outcome="error", error=message, log_tail=log_tail)


def _count_error(
    tx: Transaction,
    held: Claim,
    row: Row[tuple[int, int]],
    message: str,
    permanent: bool,
    in_block: bool,
) -> None:
    errors, hi, wait = row.errors + 1, row.hi, backoff_seconds(row.errors + 1)
    if in_block and held.block and may_split(tx, held.job_id):
        end = block_end(held.lo, hi, held.block)
        if end < hi:
            shorten(tx, held.key, end)
            cut_off(tx, held.job_id, end, hi)
        if errors >= MAX_ERRORS and end - held.lo == 1:
            mark_bad(tx, held.key, held.lo, message)
            return
        if errors >= MAX_ERRORS:
            errors, wait = MAX_ERRORS - 1, 0.0  # each half has one more try
            half = (held.lo, end, held.block)
            split(tx, held.key, *half, errors=errors, error=message)
    counted = {"errors": errors, "error": message, "backoff": wait}
    limit = {"limit": 0 if permanent else MAX_ERRORS}
    tx.run(RECORD_ERROR, **held.key, **counted, **limit)


def end_attempt(
    tx: Transaction,
    held: Claim,
    *,
    outcome: str,
    error: str | None = None,
    examples: int | None = None,
    seconds: float | None = None,
    log_tail: str = "",
    failed: int = 0,
    head_scores: int = 0,
) -> None:
    """Write the end of an attempt, and count it; the first end stays."""
    did = {"outcome": outcome, "examples": examples, "seconds": seconds}
    ended = tx.run(END_ATTEMPT, **held.key, **did, error=error, log_tail=log_tail)
    if ended.rowcount:
        attempt_counts.add(
            tx,
            held.key,
            outcome=outcome,
            examples=examples,
            failed=failed,
            head_scores=head_scores,
            seconds=seconds,
        )
