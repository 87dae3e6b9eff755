"""Blocks whose attempt was stopped in the middle: their finished batches are kept.

Every function runs in the caller's transaction, which has locked the shard where it writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import structlog

from db.transaction import Transaction
from jobs.kinds import RESULTS
from jobs.outcome import PartialBlock
from jobs.results import serialization
from jobs.scheduling.plan import Lease

log = structlog.get_logger()

READ = """
SELECT lo, hi, numbers, results, seconds, fingerprint FROM partial_block
WHERE job_id = :job_id AND lo = :lo AND hi <= :hi
"""

WRITE = """
INSERT INTO partial_block (job_id, lo, hi, finished, numbers, results, seconds, fingerprint)
VALUES (:job_id, :lo, :hi, :finished, :numbers, :results, :seconds, :fingerprint)
ON CONFLICT (job_id, lo) DO UPDATE SET hi = excluded.hi, finished = excluded.finished,
    numbers = excluded.numbers, results = excluded.results, seconds = excluded.seconds,
    fingerprint = excluded.fingerprint
"""

DELETE = "DELETE FROM partial_block WHERE job_id = :job_id AND lo >= :lo AND lo < :hi"


def read(tx: Transaction, kind: str, held: Lease) -> PartialBlock | None:
    """Read what is finished of the first block of a lease."""
    row = tx.run(READ, job_id=held.job_id, lo=held.lo, hi=held.hi).first()
    if row is None:
        return None
    try:
        result = serialization.from_bytes(RESULTS[kind], row.results)
    except serialization.UnreadableError as error:
        log.warning("what was computed of a block cannot be read: once more", error=str(error))
        return None
    return PartialBlock(
        lo=row.lo,
        hi=row.hi,
        finished=tuple(json.loads(row.numbers)),
        result=result,
        seconds=row.seconds,
        fingerprint=row.fingerprint,
    )


def packed(partial: PartialBlock) -> dict[str, Any]:
    """The values that `write` stores: packing them takes a while."""
    return {
        "lo": partial.lo,
        "hi": partial.hi,
        "finished": len(partial.finished),
        "numbers": json.dumps(partial.finished),
        "results": serialization.to_bytes(partial.result),
        "seconds": partial.seconds,
        "fingerprint": partial.fingerprint,
    }


def write(tx: Transaction, job_id: int, values: Mapping[str, Any]) -> None:
    """Keep what is finished of a block, in place of what was kept of it before."""
    tx.run(WRITE, job_id=job_id, **values)


def delete(tx: Transaction, job_id: int, lo: int, hi: int) -> None:
    """Delete what is kept of blocks of the examples lo .. hi - 1, which have their results."""
    tx.run(DELETE, job_id=job_id, lo=lo, hi=hi)
