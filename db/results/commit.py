"""Storing the results of a shard, in the transaction that ends it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import insert, select, update

from db import schema
from db.database import Database
from db.kinds import KINDS
from db.queue import partial_blocks, recovery
from db.queue.attempts import end_attempt
from db.queue.claims import Claim
from db.queue.examples import delete_texts
from db.queue.splitting import lock
from db.queue.sql import DONE, INSERT_SITE
from db.results import partitions, rankings, words
from db.results.bulk import Columns, insert_columns
from db.transaction import Transaction
from headwise.stats.ranking import ImportanceSums
from jobs.errors import HeadwiseError
from jobs.outcome import AttemptEnd, AttemptOutcome, Completed, Errored, HandedBack, PartialBlock
from jobs.results.base import ShardResult, SiteInfo
from jobs.scheduling.plan import Lease

_EXAMPLES_AT_ONCE = 500
"""Examples whose rows are sent at a time: a row has some ten kilobytes."""


class ChangedModelError(HeadwiseError):
    """The model's files differ from those that earlier shards of the job were computed with."""


@dataclass(frozen=True, kw_only=True)
class ShardInput:
    """The input for computing a shard, or a block of it."""

    spec: str
    lo: int
    """Number of the first example."""
    texts: list[tuple[str, str | None]]
    gold: list[int | None]
    model_fingerprint: str | None = None
    """The model of the shards that are done."""
    planned: Any = None
    """Input that the job's kind has planned, see `db.kinds`."""
    partial: PartialBlock | None = None
    """The part of the first block that earlier attempts have finished."""

    def part(self, lo: int, hi: int) -> ShardInput:
        """Return the input of the examples lo .. hi - 1."""
        own = slice(lo - self.lo, hi - self.lo)
        return replace(self, lo=lo, texts=self.texts[own], gold=self.gold[own])


def read_shard(database: Database, held: Claim) -> ShardInput:
    """Read the specification and the examples of a claimed shard."""
    e, j = schema.example.c, schema.job.c
    mine = (e.job_id == held.job_id) & e.example_no.between(held.lo, held.hi - 1)
    query = select(e.text_a, e.text_b, e.gold).where(mine).order_by(e.example_no)
    with database.read() as tx:
        job = tx.execute(
            select(j.kind, j.spec, j.model_fingerprint).where(j.id == held.job_id)
        ).one()
        rows = tx.execute(query).all()
        planned = KINDS[job.kind].inputs(tx, held.job_id)
        partial = partial_blocks.read(tx, job.kind, held)
    return ShardInput(
        spec=job.spec,
        lo=held.lo,
        texts=[(row.text_a, row.text_b) for row in rows],
        gold=[row.gold for row in rows],
        planned=planned,
        partial=partial,
        model_fingerprint=job.model_fingerprint,
    )


def commit_shard(
    database: Database,
    held: Claim,
    done: Completed,
    fingerprint: str,
    ending: HandedBack | Errored | None = None,
) -> bool:
    """Store a shard's results and mark it done, in one transaction.

    ending: why the attempt ended before the end of its lease; the rest becomes ready again

    Returns False, and stores nothing, if the lease was lost. Raises ChangedModelError if the model
    differs from the job's.
    """
    pinned = _pinned(database, held, fingerprint, done.parts[0].sites)
    if pinned is None:
        return False
    kind, keep_text = pinned
    packed = None if done.partial is None else partial_blocks.packed(done.partial)
    end = held.hi
    while True:
        result = _within(done.parts, end - held.lo)
        rows = rows_of(held, result, kind, keep_text)
        computed = held.lo + len(result.examples)
        with database.write() as tx:
            shard = lock(tx, held.key)
            if shard is None:
                return False
            if computed <= shard.hi:
                partial_blocks.delete(tx, held.job_id, held.lo, computed)
                if packed is not None and packed["lo"] == computed:
                    partial_blocks.write(tx, held.job_id, packed)
                recovery.release_rest(tx, shard, computed, ending)
                write_results(tx, held, rows)
                end_done(tx, held, result, done.seconds, ending)
                break
            end = shard.hi  # it was shortened since it was claimed
    partitions.summarize(database, held.job_id)
    return True


def end_done(
    tx: Transaction,
    held: Claim,
    result: ShardResult,
    seconds: float,
    ending: HandedBack | Errored | None,
) -> None:
    """End the attempt and the shard, whose results are stored."""
    ok = int(result.ok.sum())
    failed = len(result.examples) - ok
    end = AttemptEnd(
        outcome=AttemptOutcome.DONE,
        error=None if ending is None else ending.error,
        examples=len(result.examples),
        failed=failed,
        head_scores=ok * sum(site.heads for site in result.sites),
        seconds=seconds,
    )
    end_attempt(tx, held.key, end)
    if tx.run(DONE, **held.key, examples_failed=failed).rowcount != 1:
        raise AssertionError("the shard row was locked by this transaction")


def _within(parts: Sequence[ShardResult], count: int) -> ShardResult:
    """Join the results of the first `count` examples, in whole parts; at least one part."""
    kept: list[ShardResult] = []
    for part in parts:
        count -= len(part.examples)
        if count < 0 and kept:
            break
        kept.append(part)
    return type(kept[0]).joined(kept)


def ranking_sums(lo: int, result: ShardResult) -> dict[str, ImportanceSums]:
    """Return the sums of every source over the examples from `lo` on."""
    ok = result.ok[:, None, None]
    numbers = np.arange(lo, lo + len(result.examples))
    return {
        source: ImportanceSums.of(np.where(ok, values, np.nan), numbers)
        for source, values in result.ranked.items()
    }


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """The rows of a shard's results."""

    kind: str
    keep_text: bool
    computed: int
    """The example after the last one with a result."""
    examples: list[Columns]
    """Of the table of results, without the fence."""
    sums: list[dict[str, Any]]
    """Of rankings."""
    own: Any
    """Those of the kind."""


def rows_of(lease: Lease, result: ShardResult, kind: str, keep_text: bool) -> ShardRows:
    """Compute the rows of a shard's results, before the transaction that writes them.

    Drawing the bootstrap replicates of a large shard and formatting its numbers take a while.
    """
    return ShardRows(
        kind=kind,
        keep_text=keep_text,
        computed=lease.lo + len(result.examples),
        examples=_example_results(lease, result, keep_text),
        sums=rankings.sum_rows(lease, ranking_sums(lease.lo, result)),
        own=KINDS[kind].prepare(lease, result, keep_text),
    )


def write_results(tx: Transaction, held: Claim, rows: ShardRows) -> None:
    """Write the results of a shard that the transaction holds."""
    for columns in rows.examples:
        fence = np.full(len(columns["example_no"]), held.fence)
        insert_columns(tx, schema.example_result, held.job_id, {**columns, "fence": fence})
    if rows.sums:
        tx.execute(insert(schema.ranking_sum), rows.sums)
    KINDS[rows.kind].commit(tx, held, rows.own)
    if not rows.keep_text:
        delete_texts(tx, held.job_id, held.lo, rows.computed)


def _pinned(
    database: Database, held: Claim, fingerprint: str, sites: Sequence[SiteInfo]
) -> tuple[str, bool] | None:
    """Check the model against that of earlier shards; the first one stores fingerprint and sites.

    Returns the job's kind and whether its texts are kept; None where the job was deleted.
    """
    job = schema.job.c
    query = select(job.model_fingerprint, job.kind, job.spec).where(job.id == held.job_id)
    with database.read() as tx:
        row = tx.execute(query).first()
    if row is None:
        return None
    pinned, kind, spec = row
    if pinned is None:
        pinned = _pin(database, held, fingerprint, sites)
    if pinned not in (fingerprint, None):
        raise ChangedModelError(
            f"the model's files changed while the job ran (fingerprint {fingerprint[:12]}, "
            f"earlier shards {pinned[:12]}); submit the job again"
        )
    return kind, bool(json.loads(spec)["keep_text"])


def _pin(
    database: Database, held: Claim, fingerprint: str, sites: Sequence[SiteInfo]
) -> str | None:
    """Store the model of a job, and return what is stored; None if the lease was lost.

    In a transaction of its own: the first commit would keep all others waiting for the job's row.
    """
    with database.write() as tx:
        if lock(tx, held.key) is None:
            return None
        return pin(tx, held.job_id, fingerprint, sites)


def pin(tx: Transaction, job_id: int, fingerprint: str, sites: Sequence[SiteInfo]) -> str:
    """Store the model of a job if it has none yet, and return what is stored."""
    job = schema.job
    mine = job.c.id == job_id
    unset = mine & job.c.model_fingerprint.is_(None)
    tx.execute(update(job).where(unset).values(model_fingerprint=fingerprint))
    rows = [
        {"job_id": job_id, "site": number, **info.__dict__} for number, info in enumerate(sites)
    ]
    tx.run_each(INSERT_SITE, rows)
    return str(tx.execute(select(job.c.model_fingerprint).where(mine)).scalar_one())


def _example_results(lease: Lease, result: ShardResult, keep_text: bool) -> list[Columns]:
    found: list[Columns] = []
    for start in range(0, len(result.examples), _EXAMPLES_AT_ONCE):
        examples = result.examples[start : start + _EXAMPLES_AT_ONCE]
        numbers = lease.lo + start + np.arange(len(examples))
        shown = [words.to_columns(e.words if keep_text else None) for e in examples]
        columns: Columns = {
            "job_id": np.full(numbers.shape, lease.job_id),
            "example_no": numbers,
            "truncated": np.array([example.truncated for example in examples]),
            "predicted": [example.predicted for example in examples],
            "target": [example.target for example in examples],
            "probabilities": [_probabilities(example.probabilities) for example in examples],
            "tokens": [_tokens(example.tokens) if keep_text else None for example in examples],
            "token_attribution": [example.token_attribution for example in examples],
            "interactions": [example.interactions for example in examples],
            "error": [example.error for example in examples],
            "word_index": [one["word_index"] for one in shown],
            "token_spans": [one["token_spans"] for one in shown],
            "head_token_attribution": [e.head_token_attribution for e in examples],
        }
        found.append(columns)
    return found


def _probabilities(values: tuple[float, ...]) -> str:
    return json.dumps([float(f"{value:.7g}") for value in values])


def _tokens(tokens: tuple[str, ...] | None) -> str | None:
    return None if tokens is None else json.dumps(tokens, ensure_ascii=False)
