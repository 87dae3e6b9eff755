"""Writing: new jobs with their examples, and a whole shard's results."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Row, false, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from db import rankings, tables
from db.bulk import insert_rows
from db.database import Database
from db.kinds import KINDS
from db.leases import Claim, end_attempt
from db.limits import Limits, enforce
from db.ranges import cut_off, forget_texts, shorten
from db.statements import DONE, HOLD, INSERT_SITE
from jobs.errors import HeadwiseError
from jobs.outcome import Completed, Errored, HandedBack
from jobs.plan import block_end
from jobs.results import ShardResult
from jobs.states import FINAL_JOB_STATES, backoff_seconds
from stats.ranking import ImportanceSums

R = TypeVar("R")
NO_LIMITS = Limits()


class ChangedModelError(HeadwiseError):
    """The model's files differ from those that earlier shards of the job were computed with."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to be written."""

    values: Mapping[str, Any]
    """Column values of the job's row."""
    examples: Sequence[tuple[Any, ...]] | None
    """source_row, text_a, text_b, text_hash, gold; None when they are loaded while planning."""
    parents: Sequence[int] = ()
    limits: Limits = NO_LIMITS
    """What its user may have unfinished at once."""
    deadline_seconds: float | None = None
    """The deadline, from now."""
    reuse_since: float | None = None
    """A succeeded job with the same results, planned after this time, is taken instead."""


def create_job(
    database: Database,
    values: Mapping[str, Any],
    examples: Sequence[tuple[Any, ...]] | None,
    parents: Sequence[int] = (),
) -> int:
    """Insert a job and, when given, its examples in one transaction; returns the job's number.

    A job with the same idempotency key, or with the same dedupe key and not yet final, is returned
    instead of a second one.
    """
    job = NewJob(values=values, examples=examples, parents=parents)
    return write_jobs(database, lambda connection: write_job(database, connection, job))


def write_jobs(database: Database, work: Callable[[Connection], R]) -> R:
    """Run `work`, which calls `write_job`, in one transaction.

    Where another process has just written one of the same jobs, everything is done anew.
    """
    for last in (False, False, True):
        try:
            with database.write() as connection:
                return work(connection)
        except IntegrityError:
            if last:
                raise
    raise AssertionError("the last try returns or raises")


def write_job(database: Database, connection: Connection, job: NewJob) -> int:
    """Insert a job within a transaction, unless there is one to take instead."""
    existing = find_job(connection, job.values)
    if existing is None and job.reuse_since is not None:
        existing = find_results(connection, job.values, job.reuse_since)
    if existing is not None:
        return existing
    enforce(connection, job.limits, job.values["user_name"], job.values["examples"])
    row = {**job.values, "created_at": database.sql("{clock}")}
    if job.deadline_seconds is not None:
        row["deadline_at"] = database.sql("{clock} + :seconds").bindparams(
            seconds=job.deadline_seconds
        )
    inserted = connection.execute(insert(tables.job).values(row))
    job_id = int((inserted.inserted_primary_key or (0,))[0])
    if job.examples is not None:
        insert_examples(connection, job_id, job.examples)
    if job.parents:
        rows = [{"job_id": job_id, "parent_id": parent} for parent in sorted(set(job.parents))]
        connection.execute(insert(tables.job_parent), rows)
    return job_id


def find_job(connection: Connection, values: Mapping[str, Any]) -> int | None:
    """The job that `values` would duplicate, if there is one: not final, or of the same key."""
    job = tables.job.c
    alike = false()
    if (key := values["dedupe_key"]) is not None:
        alike |= (job.dedupe_key == key) & job.state.not_in(FINAL_JOB_STATES)
    if (key := values["idempotency_key"]) is not None:
        alike |= (job.user_name == values["user_name"]) & (job.idempotency_key == key)
    found = connection.execute(select(job.id).where(alike)).scalar()
    return None if found is None else int(found)


def find_results(connection: Connection, values: Mapping[str, Any], since: float) -> int | None:
    """The newest succeeded job of the same specification and data that was planned after `since`.

    Data that is loaded while planning has no fingerprint yet: no job is known to be the same.
    """
    job = tables.job.c
    if values["data_fingerprint"] is None:
        return None
    same = (job.spec_hash == values["spec_hash"]) & (
        job.data_fingerprint == values["data_fingerprint"]
    )
    whole = (job.state == "succeeded") & job.purged_at.is_(None)
    query = select(job.id).where(same & whole & (job.started_at > since))
    found = connection.execute(query.order_by(job.id.desc()).limit(1)).scalar()
    return None if found is None else int(found)


def insert_examples(
    connection: Connection, job_id: int, examples: Sequence[tuple[Any, ...]]
) -> None:
    """Write a job's examples, numbered in their order."""
    names = [column.name for column in tables.example.columns]
    rows = ((job_id, number, *row) for number, row in enumerate(examples))
    insert_rows(connection, tables.example, job_id, names, rows)


@dataclass(frozen=True, kw_only=True)
class ShardInput:
    """What a worker needs to compute a shard, or a block of it."""

    spec: str
    lo: int
    """Number of the first example."""
    texts: list[tuple[str, str | None]]
    gold: list[int | None]
    planned: Any = None
    """What the kind's plan left for its shards, see `db.kinds`."""

    def part(self, lo: int, hi: int) -> ShardInput:
        """The examples lo .. hi - 1 of it."""
        own = slice(lo - self.lo, hi - self.lo)
        return replace(self, lo=lo, texts=self.texts[own], gold=self.gold[own])


def read_shard(database: Database, held: Claim) -> ShardInput:
    """The spec and the examples of a claimed shard."""
    e, j = tables.example.c, tables.job.c
    mine = (e.job_id == held.job_id) & e.example_no.between(held.lo, held.hi - 1)
    query = select(e.text_a, e.text_b, e.gold).where(mine).order_by(e.example_no)
    with database.read() as connection:
        job = connection.execute(select(j.kind, j.spec).where(j.id == held.job_id)).one()
        rows = connection.execute(query).all()
        planned = KINDS[job.kind].inputs(connection, held.job_id)
    return ShardInput(
        spec=job.spec,
        lo=held.lo,
        texts=[(row[0], row[1]) for row in rows],
        gold=[row[2] for row in rows],
        planned=planned,
    )


def commit_shard(
    database: Database,
    held: Claim,
    done: Completed,
    fingerprint: str,
    log_tail: str = "",
    ending: HandedBack | Errored | None = None,
) -> bool:
    """Store a shard's results and mark it done, in one transaction.

    ending: why the attempt ended before the end of its lease; the rest becomes ready again

    Returns False, and stores nothing, when the lease was lost. Raises ChangedModelError when the
    model differs from the job's.
    """
    end = held.hi
    while True:
        # Before the transaction: drawing the bootstrap takes a while for a large shard.
        result = _within(done.parts, end - held.lo)
        sums = _ranking_sums(held.lo, result)
        with database.write() as connection:
            row = connection.execute(database.sql(HOLD), held.key).first()
            if row is None:
                return False
            if row.hi < held.lo + len(result.examples):
                end = row.hi  # it was shortened since it was claimed
                continue
            _settle_rest(connection, database, held, len(result.examples), row, ending)
            _write_results(connection, held, result, sums, fingerprint)
            failed = int((~result.ok).sum())
            end_attempt(
                connection,
                database,
                held,
                outcome="done",
                error=None if ending is None else ending.why,
                examples=len(result.examples),
                seconds=done.seconds,
                log_tail=log_tail,
                failed=failed,
                head_scores=int(result.ok.sum()) * sum(site.heads for site in result.sites),
            )
            touched = connection.execute(database.sql(DONE), {**held.key, "failed": failed})
            if touched.rowcount != 1:
                raise AssertionError("the shard row was locked by this transaction")
        return True


def _within(parts: Sequence[ShardResult], count: int) -> ShardResult:
    """The results of the first `count` examples, or of as many whole parts as they have."""
    kept: list[ShardResult] = []
    for part in parts:
        count -= len(part.examples)
        if count < 0 and kept:
            break
        kept.append(part)
    return type(kept[0]).joined(kept)


def _ranking_sums(lo: int, result: ShardResult) -> dict[str, ImportanceSums]:
    ok = result.ok[:, None, None]
    numbers = np.arange(lo, lo + len(result.examples))
    return {
        source: ImportanceSums.of(np.where(ok, values, np.nan), numbers)
        for source, values in result.ranked.items()
    }


def _settle_rest(
    connection: Connection,
    database: Database,
    held: Claim,
    done: int,
    row: Row[tuple[int, int]],
    ending: HandedBack | Errored | None,
) -> None:
    """What was not computed is ready again; a block that raised waits, by itself."""
    lo = held.lo + done
    if lo == row.hi:
        return
    shorten(connection, database, held.key, lo)
    if isinstance(ending, Errored):
        end = block_end(lo, row.hi, held.block) if ending.in_block else row.hi
        job_id, wait = held.job_id, backoff_seconds(1)
        cut_off(connection, database, job_id, lo, end, wait=wait, errors=1, error=ending.message)
        lo = end
    if lo < row.hi:
        cut_off(connection, database, held.job_id, lo, row.hi)


def _write_results(
    connection: Connection,
    held: Claim,
    result: ShardResult,
    sums: Mapping[str, ImportanceSums],
    fingerprint: str,
) -> None:
    kind, keep_text = _pin_model(connection, held.job_id, fingerprint, result)
    _insert_example_results(connection, held, result, keep_text)
    rankings.insert_sums(connection, held, sums)
    KINDS[kind].commit(connection, held, result, keep_text)
    if not keep_text:
        forget_texts(connection, held.job_id, held.lo, held.lo + len(result.examples))


def _pin_model(
    connection: Connection, job_id: int, fingerprint: str, result: ShardResult
) -> tuple[str, bool]:
    """The first shard fixes the model's fingerprint and sites.

    Returns the job's kind and whether texts are kept.
    """
    job = tables.job
    unset = (job.c.id == job_id) & job.c.model_fingerprint.is_(None)
    connection.execute(update(job).where(unset).values(model_fingerprint=fingerprint))
    query = select(job.c.model_fingerprint, job.c.kind, job.c.spec).where(job.c.id == job_id)
    pinned, kind, spec = connection.execute(query).one()
    if pinned != fingerprint:
        raise ChangedModelError(
            f"the model's files changed while the job ran (fingerprint {fingerprint[:12]}, "
            f"earlier shards {pinned[:12]}); submit the job again"
        )
    rows = [
        {"job_id": job_id, "site": number, **info.__dict__}
        for number, info in enumerate(result.sites)
    ]
    connection.execute(text(INSERT_SITE), rows)
    return kind, bool(json.loads(spec)["keep_text"])


def _insert_example_results(
    connection: Connection, held: Claim, result: ShardResult, keep_text: bool
) -> None:
    by_name = (
        {
            "job_id": held.job_id,
            "example_no": number,
            "fence": held.fence,
            "predicted": example.predicted,
            "target": example.target,
            "probabilities": json.dumps([float(f"{p:.7g}") for p in example.probabilities]),
            "tokens": _tokens(example.tokens) if keep_text else None,
            "token_attribution": _compact(example.token_attribution),
            "interactions": example.interactions,
            "truncated": example.truncated,
            "error": example.error,
        }
        for number, example in enumerate(result.examples, start=held.lo)
    )
    names = [column.name for column in tables.example_result.columns]
    rows = ([row[name] for name in names] for row in by_name)
    insert_rows(connection, tables.example_result, held.job_id, names, rows)


def _tokens(tokens: tuple[str, ...] | None) -> str | None:
    return None if tokens is None else json.dumps(tokens, ensure_ascii=False)


def _compact(rows: list[list[float]] | None) -> str | None:
    if rows is None:
        return None
    # One format operation per row: a text of 40 tokens has 500 numbers.
    return "[" + ",".join("[" + ",".join(["%.5g"] * len(r)) % tuple(r) + "]" for r in rows) + "]"
