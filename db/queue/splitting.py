"""Parts of shards: cut off to be ready on their own, split to find a bad example, marked as bad.

Each function runs in the transaction of the statement that needs it, with the shard's row locked.
"""

from __future__ import annotations

import json

from sqlalchemy import select, update

from db import schema
from db.queue.sql import CUT_OFF, DONE, SHORTEN, SUSPECTS
from db.results.bulk import insert_rows
from db.transaction import Transaction
from jobs.plan import halves
from jobs.states import MAX_SUSPECTS


def cut_off(
    tx: Transaction,
    job_id: int,
    lo: int,
    hi: int,
    *,
    wait: float = 0.0,
    errors: int = 0,
    losses: int = 0,
    error: str | None = None,
) -> None:
    """The end of a shard becomes a ready shard of its own, numbered by its first example."""
    place = {"job_id": job_id, "lo": lo, "hi": hi, "wait": wait}
    past = {"errors": errors, "losses": losses, "error": error}
    tx.run(CUT_OFF, **place, **past)


def shorten(tx: Transaction, key: dict[str, int], hi: int) -> bool:
    """A leased shard ends at `hi`; False where it had ended, or does not reach that far."""
    return bool(tx.run(SHORTEN, **key, hi=hi).rowcount)


def split(
    tx: Transaction,
    key: dict[str, int],
    lo: int,
    hi: int,
    block: int,
    *,
    errors: int = 0,
    losses: int = 0,
    error: str | None = None,
) -> None:
    """Halve a leased shard of several examples; the second half is ready with those counts."""
    middle = halves(lo, hi, block)
    shorten(tx, key, middle)
    past = {"errors": errors, "losses": losses}
    cut_off(tx, key["job_id"], middle, hi, error=error, **past)


def may_split(tx: Transaction, job_id: int) -> bool:
    """Whether the job has few enough bad places that they may be the examples' own fault.

    Where everything raises, splitting would only multiply the shards.
    """
    found = tx.run(SUSPECTS, job_id=job_id).scalar_one()
    return int(found) < MAX_SUSPECTS


def mark_bad(tx: Transaction, key: dict[str, int], example: int, error: str) -> None:
    """The only example of a leased shard is bad: it has failed, and the shard is done."""
    values = {
        "job_id": key["job_id"],
        "example_no": example,
        "fence": key["fence"],
        "probabilities": "[]",
        "truncated": False,
        "error": error,
    }
    job_id, names = key["job_id"], list(values)
    insert_rows(tx, schema.example_result, job_id, names, [list(values.values())])
    spec = select(schema.job.c.spec).where(schema.job.c.id == job_id)
    if not json.loads(tx.execute(spec).scalar_one())["keep_text"]:
        forget_texts(tx, job_id, example, example + 1)
    tx.run(DONE, **key, failed=1)


def forget_texts(tx: Transaction, job_id: int, lo: int, hi: int) -> None:
    """Delete the texts of examples whose results are there."""
    e = schema.example
    mine = (e.c.job_id == job_id) & e.c.example_no.between(lo, hi - 1)
    tx.execute(update(e).where(mine).values(text_a=None, text_b=None))
