"""Blocks that a deadline left unfinished: what is finished of them is stored like everything else.

The examples of a block are computed by length, so the finished ones are scattered over it. Each run
of neighbours becomes a shard of its own, done by the worker that was stopped; what lies between
them is left to be cancelled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import structlog
from sqlalchemy import select

from db import schema
from db.database import Database
from db.queue import partial_blocks
from db.queue.attempts import begin_attempt
from db.queue.claims import Claim
from db.queue.splitting import cut_off, shorten
from db.queue.sql import HOLD_LATE, LATE_BLOCKS, LEASE, STOPPED_BY
from db.results.commit import ShardRows, end_done, pin, rows_of, write_results
from db.transaction import Transaction
from jobs.errors import UnavailableError
from jobs.outcome import HandedBack, PartialBlock, StopReason
from jobs.results.base import ShardResult
from jobs.scheduling.plan import Lease

log = structlog.get_logger()

LATE = HandedBack(reason=StopReason.PAUSE, detail="the deadline passed")


@dataclass(frozen=True, kw_only=True)
class Run:
    """Neighbouring examples of a block, all of them finished."""

    lo: int
    hi: int
    result: ShardResult
    rows: ShardRows
    seconds: float


def store(database: Database) -> None:
    """Store what is finished of the blocks of jobs whose deadline has passed."""
    for row in database.rows(LATE_BLOCKS):
        shard = Lease(**row)
        try:
            _store(database, shard)
        except UnavailableError:
            raise
        except Exception:
            log.error("what a deadline left of a block is lost", **shard.key, exc_info=True)
            with database.write() as tx:  # the job has to end all the same
                partial_blocks.delete(tx, shard.job_id, shard.lo, shard.hi)


def _store(database: Database, shard: Lease) -> None:
    j = schema.job.c
    with database.read() as tx:
        job = tx.execute(select(j.kind, j.spec).where(j.id == shard.job_id)).one()
        block = partial_blocks.read(tx, job.kind, shard)
        workers = tx.rows(STOPPED_BY, job_id=shard.job_id, lo=shard.lo)
    keep_text = bool(json.loads(job.spec)["keep_text"])
    runs = list(_runs(shard, block, job.kind, keep_text)) if block and workers else []
    with database.write() as tx:
        if not tx.rows(HOLD_LATE, **shard.key):
            return
        partial_blocks.delete(tx, shard.job_id, shard.lo, shard.hi)
        if not block or not runs:
            return
        pinned = pin(tx, shard.job_id, block.fingerprint, block.result.sites)
        if pinned != block.fingerprint:
            return  # computed with other files of the model
        for held, run in _leased(tx, shard, runs, dict(workers[0])):
            write_results(tx, held, run.rows)
            end_done(tx, held, run.result, run.seconds, LATE)


def _runs(shard: Lease, block: PartialBlock, kind: str, keep_text: bool) -> Iterator[Run]:
    numbers = block.finished
    starts = [n for n, number in enumerate(numbers) if not n or number > numbers[n - 1] + 1]
    bounds = list(pairwise([*starts, len(numbers)]))
    results = block.result.divided([end - start for start, end in bounds])
    for (start, end), result in zip(bounds, results, strict=True):
        lo = numbers[start]
        hi = lo + end - start
        lease = replace(_begun_at(shard, lo), hi=hi)
        yield Run(
            lo=lo,
            hi=hi,
            result=result,
            rows=rows_of(lease, result, kind, keep_text),
            seconds=block.seconds * (end - start) / len(numbers),
        )


def _leased(
    tx: Transaction, shard: Lease, runs: Sequence[Run], worker: Mapping[str, str]
) -> Iterator[tuple[Claim, Run]]:
    """Cut the shard at the ends of the runs, and lease the shard of each in the worker's name."""
    for run in runs:
        if run.lo > shard.lo:
            shorten(tx, shard.key, run.lo)
            shard = _rest(tx, shard, run.lo)
        lease = {"worker": worker["worker"], "lease": 0.0, "hi": run.hi, "pace": None}
        fence = tx.run(LEASE, **shard.key, **lease).one().fence
        held = replace(shard, fence=fence, hi=run.hi)
        begin_attempt(tx, held.key, worker)
        yield Claim(**vars(held)), run
        if run.hi < shard.hi:
            shard = _rest(tx, shard, run.hi)


def _rest(tx: Transaction, shard: Lease, lo: int) -> Lease:
    """Make the rest of a shard, from example `lo` on, a ready one."""
    cut_off(tx, shard.job_id, lo, shard.hi)
    return _begun_at(shard, lo)


def _begun_at(shard: Lease, lo: int) -> Lease:
    """The lease of a shard from example `lo` on; what is cut off is numbered by its first one."""
    return shard if lo == shard.lo else replace(shard, shard_no=lo, fence=0, lo=lo)
