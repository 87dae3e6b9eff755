"""Recovery of shards after errors and lost workers.

Both count against the shard, which is tried again. If one of its examples is the cause, that
example has to be found, so that only it fails and all others have results:

    computing a block raised    the block becomes a shard of its own and waits for its next try; at
                                MAX_ERRORS it is halved
    the worker was lost         from the second time on a shard of several blocks is halved; at
                                MAX_LOSSES a shard of one block is, too

A worker that is lost while it loads the model is no example's fault: the second time, the shard
fails, and with it what is ready of the job, unless another shard is done. So does a shard whose
model is found to be unusable, at once.

Each half has one more try, down to a single example, which is marked as bad. A shard fails at its
limit if no example can be the cause: after other errors, and in a job with MAX_SUSPECTS suspect
shards.
"""

from __future__ import annotations

import json
from dataclasses import replace

from sqlalchemy import select

from db import schema
from db.queue.examples import delete_texts
from db.queue.splitting import UNTRIED, History, LeasedShard, cut_off, shorten
from db.queue.sql import DONE, FAIL_READY, RETRY, STAGE, SUSPECTS
from db.results.bulk import insert_rows
from db.transaction import Transaction
from jobs.outcome import Errored, HandedBack, Stage
from jobs.scheduling.plan import block_end, halves

MAX_ERRORS = 3
"""A shard that raised this many errors is halved, or fails."""
MAX_LOSSES = 5
"""A shard that lost this many workers is halved, or fails."""
MAX_LOADING_LOSSES = 2
"""A shard that lost this many workers while they loaded the model fails."""
MAX_SUSPECTS = 32
"""A job with this many suspect shards splits no more of them: the examples are not the cause."""

UNLOADABLE = (
    f"{MAX_LOADING_LOSSES} workers were lost while they loaded the model: it may need more memory "
    "than they have, or more time than HEADWISE_STALL_SECONDS."
)


def backoff_seconds(errors: int) -> float:
    """Seconds to wait before trying a shard again that has raised `errors` errors."""
    return min(300.0, 2.0 * 4.0 ** max(0, errors - 1))


def count_error(tx: Transaction, shard: LeasedShard, error: str, *, in_block: bool) -> None:
    """Count an error against a leased shard and end the lease.

    in_block: computing the shard's first block raised, so one of its examples may be the cause
    """
    errors = shard.errors + 1
    if in_block and _may_split(tx, shard):
        end = block_end(shard.lo, shard.hi, shard.block)
        if end < shard.hi:
            shard = _cut(tx, shard, end)
        if errors >= MAX_ERRORS:
            _halve(tx, shard, History(errors=MAX_ERRORS - 1, losses=shard.losses, error=error))
            return
    wait = backoff_seconds(errors)
    history = History(errors=errors, losses=shard.losses, error=error, wait=wait)
    _retry(tx, shard, history, failed=errors >= MAX_ERRORS)


def count_loss(tx: Transaction, shard: LeasedShard, error: str) -> None:
    """Count the loss of a worker against a leased shard and end the lease."""
    losses = shard.losses + 1
    before = tx.run(STAGE, **shard.key).one()
    if before.stage == Stage.LOADING:
        if before.lost + 1 >= MAX_LOADING_LOSSES:
            fail(tx, shard, f"{UNLOADABLE} The last time: {error}", whole_job=True)
        else:
            _retry(tx, shard, History(errors=shard.errors, losses=losses, error=error))
        return
    last = losses >= MAX_LOSSES
    several = block_end(shard.lo, shard.hi, shard.block) < shard.hi
    history = History(errors=shard.errors, losses=losses, error=error)
    if losses > 1 and (last or several) and _may_split(tx, shard):
        _halve(tx, shard, replace(history, losses=min(losses, MAX_LOSSES - 1)))
    else:
        _retry(tx, shard, history, failed=last)


def fail(tx: Transaction, shard: LeasedShard, error: str, *, whole_job: bool = False) -> None:
    """Fail a leased shard: another try would raise the same error.

    whole_job: so would any other shard; those that are ready fail too, unless one is done
    """
    history = History(errors=shard.errors + 1, losses=shard.losses, error=error)
    _retry(tx, shard, history, failed=True)
    if whole_job:
        tx.run(FAIL_READY, job_id=shard.job_id, error=error)


def release_rest(
    tx: Transaction, shard: LeasedShard, lo: int, ending: HandedBack | Errored | None
) -> None:
    """Make what an attempt did not compute, from example `lo` on, ready again.

    A block that raised becomes a shard of its own and waits.
    """
    hi = shard.hi
    if lo == hi:
        return
    shorten(tx, shard.key, lo)
    if isinstance(ending, Errored):
        end = block_end(lo, hi, shard.block) if ending.in_block else hi
        history = History(errors=1, error=ending.message, wait=backoff_seconds(1))
        cut_off(tx, shard.job_id, lo, end, history)
        lo = end
    if lo < hi:
        cut_off(tx, shard.job_id, lo, hi)
    tx.announce()


def _may_split(tx: Transaction, shard: LeasedShard) -> bool:
    """Return True if examples may be the cause; where everything raises, splitting is of no use."""
    return bool(shard.block) and (
        int(tx.run(SUSPECTS, job_id=shard.job_id).scalar_one()) < MAX_SUSPECTS
    )


def _halve(tx: Transaction, shard: LeasedShard, history: History) -> None:
    """Make both halves of a shard ready with that history; mark a single example as bad."""
    if shard.hi - shard.lo == 1:
        _mark_bad(tx, shard, str(history.error))
        return
    shard = _cut(tx, shard, halves(shard.lo, shard.hi, shard.block), history)
    _retry(tx, shard, history)


def _cut(tx: Transaction, shard: LeasedShard, at: int, history: History = UNTRIED) -> LeasedShard:
    """End a leased shard at an example; the rest is ready with that history."""
    shorten(tx, shard.key, at)
    cut_off(tx, shard.job_id, at, shard.hi, history)
    return replace(shard, hi=at)


def _retry(tx: Transaction, shard: LeasedShard, history: History, *, failed: bool = False) -> None:
    """End a lease; the shard is ready again or has failed."""
    tx.run(RETRY, **shard.key, **history.__dict__, failed=failed)


def _mark_bad(tx: Transaction, shard: LeasedShard, error: str) -> None:
    """Store the error as the result of a shard's only example; the shard is done."""
    values = {
        "job_id": shard.job_id,
        "example_no": shard.lo,
        "fence": shard.fence,
        "probabilities": "[]",
        "truncated": False,
        "error": error,
    }
    row = list(values.values())
    insert_rows(tx, schema.example_result, shard.job_id, list(values), [row])
    spec = select(schema.job.c.spec).where(schema.job.c.id == shard.job_id)
    if not json.loads(tx.execute(spec).scalar_one())["keep_text"]:
        delete_texts(tx, shard.job_id, shard.lo, shard.hi)
    tx.run(DONE, **shard.key, examples_failed=1)
