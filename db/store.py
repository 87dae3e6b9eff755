"""Writing: a new job with its examples, a whole shard's results, a job's importance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from db import tables
from db.bulk import insert_arrays, insert_rows
from db.database import Database
from db.leases import Claim, end_attempt
from db.statements import DONE, HOLD, INSERT_SITE
from jobs.errors import HeadwiseError
from jobs.merge import HeadImportance, HeadSums
from jobs.outcome import Completed
from jobs.results import SUM_NAMES, ShardResult, shard_sums
from jobs.states import FINAL_JOB_STATES


class ChangedModelError(HeadwiseError):
    """The model's files differ from those that earlier shards of the job were computed with."""


def create_job(
    database: Database,
    values: dict[str, Any],
    examples: Sequence[tuple[Any, ...]] | None,
) -> int:
    """Insert a job and, when given, its examples in one transaction; returns the job's number.

    `examples` rows: source_row, text_a, text_b, text_hash, gold. A job with the same idempotency
    key, or with the same dedupe key and not yet final, is returned instead of a second one.
    """
    try:
        with database.write() as connection:
            row = {**values, "created_at": database.sql("{clock}")}
            inserted = connection.execute(insert(tables.job).values(row))
            job_id = int((inserted.inserted_primary_key or (0,))[0])
            if examples is not None:
                insert_examples(connection, job_id, examples)
            return job_id
    except IntegrityError:
        existing = find_job(database, values)
        if existing is None:
            raise
        return existing


def find_job(database: Database, values: dict[str, Any]) -> int | None:
    """The job that `values` would duplicate, if there is one."""
    job = tables.job.c
    alike = (job.dedupe_key == values["dedupe_key"]) & job.state.not_in(FINAL_JOB_STATES)
    if (key := values["idempotency_key"]) is not None:
        alike |= (job.user_name == values["user_name"]) & (job.idempotency_key == key)
    with database.read() as connection:
        found = connection.execute(select(job.id).where(alike)).scalar()
    return None if found is None else int(found)


def insert_examples(
    connection: Connection, job_id: int, examples: Sequence[tuple[Any, ...]]
) -> None:
    """Write a job's examples, numbered in their order."""
    names = [column.name for column in tables.example.columns]
    rows = ((job_id, number, *row) for number, row in enumerate(examples))
    insert_rows(connection, tables.example, names, rows)


@dataclass(frozen=True, kw_only=True)
class ShardInput:
    """What a worker needs to compute a shard."""

    spec: str
    texts: list[tuple[str, str | None]]
    gold: list[int | None]


def read_shard(database: Database, held: Claim) -> ShardInput:
    """The spec and the examples of a claimed shard."""
    e, j = tables.example.c, tables.job.c
    mine = (e.job_id == held.job_id) & e.example_no.between(held.lo, held.hi - 1)
    query = select(e.text_a, e.text_b, e.gold).where(mine).order_by(e.example_no)
    with database.read() as connection:
        spec = connection.execute(select(j.spec).where(j.id == held.job_id)).scalar_one()
        rows = connection.execute(query).all()
    return ShardInput(
        spec=spec, texts=[(row[0], row[1]) for row in rows], gold=[row[2] for row in rows]
    )


def commit_shard(
    database: Database, held: Claim, done: Completed, fingerprint: str, log_tail: str = ""
) -> bool:
    """Store a shard's results and mark it done, in one transaction.

    Returns False, and stores nothing, when the lease was lost. Raises ChangedModelError when the
    model differs from the job's.
    """
    result = done.result
    with database.write() as connection:
        if connection.execute(database.sql(HOLD), held.key).first() is None:
            return False
        keep_text = _pin_model(connection, held.job_id, fingerprint, result)
        ok = result.ok
        numbers = held.lo + np.flatnonzero(ok)
        _insert_example_results(connection, held, result, keep_text)
        _insert_head_scores(connection, held.job_id, numbers, result)
        _insert_site_results(connection, held.job_id, numbers, result)
        _insert_edges(connection, held, result, keep_text)
        _insert_sums(connection, held, result)
        if not keep_text:
            _forget_texts(connection, held)
        end_attempt(
            connection,
            database,
            held,
            outcome="done",
            examples=len(result.examples),
            seconds=done.seconds,
            log_tail=log_tail,
        )
        failed = int((~ok).sum())
        touched = connection.execute(database.sql(DONE), {**held.key, "failed": failed})
        if touched.rowcount != 1:
            raise AssertionError("the shard row was locked by this transaction")
    return True


def insert_importance(connection: Connection, job_id: int, heads: Sequence[HeadImportance]) -> None:
    """Write a job's head importance, replacing what an interrupted finish left."""
    connection.execute(delete(tables.importance).where(tables.importance.c.job_id == job_id))
    if heads:
        rows = [{"job_id": job_id, **head.__dict__} for head in heads]
        connection.execute(insert(tables.importance), rows)


def read_sums(connection: Connection, job_id: int) -> Iterator[HeadSums]:
    """The per-shard sums of a job in shard order."""
    s = tables.shard_sum.c
    columns = [s.site, s.head, s.n, *(s[name] for name in SUM_NAMES)]
    query = select(*columns).where(s.job_id == job_id).order_by(s.shard_no, s.site, s.head)
    for row in connection.execute(query):
        yield HeadSums(**row._mapping)


def delete_job(connection: Connection, job_id: int) -> None:
    """Delete a job and everything it left."""
    for table in tables.RESULT_TABLES:
        connection.execute(delete(table).where(table.c.job_id == job_id))
    connection.execute(delete(tables.job).where(tables.job.c.id == job_id))


def _pin_model(connection: Connection, job_id: int, fingerprint: str, result: ShardResult) -> bool:
    """The first shard fixes the model's fingerprint and sites; returns whether texts are kept."""
    job = tables.job
    unset = (job.c.id == job_id) & job.c.model_fingerprint.is_(None)
    connection.execute(update(job).where(unset).values(model_fingerprint=fingerprint))
    query = select(job.c.model_fingerprint, job.c.spec).where(job.c.id == job_id)
    pinned, spec = connection.execute(query).one()
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
    return bool(json.loads(spec)["keep_text"])


def _insert_example_results(
    connection: Connection, held: Claim, result: ShardResult, keep_text: bool
) -> None:
    names = [column.name for column in tables.example_result.columns]
    rows = (
        (
            held.job_id,
            number,
            held.fence,
            example.predicted,
            example.target,
            json.dumps([float(f"{p:.7g}") for p in example.probabilities]),
            json.dumps(example.tokens, ensure_ascii=False) if keep_text else None,
            _compact(example.token_attribution),
            example.truncated,
            example.error,
        )
        for number, example in enumerate(result.examples, start=held.lo)
    )
    insert_rows(connection, tables.example_result, names, rows)


def _compact(rows: list[list[float]] | None) -> str | None:
    if rows is None:
        return None
    return "[" + ",".join("[" + ",".join(f"{v:.5g}" for v in row) + "]" for row in rows) + "]"


def _insert_head_scores(
    connection: Connection, job_id: int, numbers: NDArray[np.int64], result: ShardResult
) -> None:
    ok = result.ok
    _, sites, heads = result.score.shape
    # Sites with fewer heads than the widest are padded with NaN.
    real = np.array([[h < info.heads for h in range(heads)] for info in result.sites])
    keep = np.broadcast_to(real, (len(numbers), sites, heads)).ravel()
    site, head = np.meshgrid(np.arange(sites), np.arange(heads), indexing="ij")
    grid = {
        "job_id": np.full(keep.shape, job_id),
        "example_no": np.repeat(numbers, sites * heads),
        "site": np.tile(site.ravel(), len(numbers)),
        "head": np.tile(head.ravel(), len(numbers)),
    }
    for name in ("score", "total", "query", "key", "attention_max", "attention_mean"):
        grid[name] = getattr(result, name)[ok].ravel()
    columns = {name: values[keep] for name, values in grid.items()}
    insert_arrays(connection, tables.head_score, columns)


def _insert_site_results(
    connection: Connection, job_id: int, numbers: NDArray[np.int64], result: ShardResult
) -> None:
    ok, sites = result.ok, len(result.sites)
    columns: dict[str, NDArray[Any]] = {
        "job_id": np.full(len(numbers) * sites, job_id),
        "example_no": np.repeat(numbers, sites),
        "site": np.tile(np.arange(sites), len(numbers)),
    }
    for name in ("f0", "f1", "residual", "points", "converged"):
        columns[name] = getattr(result, name)[ok].ravel()
    insert_arrays(connection, tables.site_result, columns)


def _insert_edges(
    connection: Connection, held: Claim, result: ShardResult, keep_text: bool
) -> None:
    names = [column.name for column in tables.edge.columns]

    def rows() -> Iterator[tuple[Any, ...]]:
        fields = (result.edge_site, result.edge_head, result.edge_query, result.edge_key)
        lists = [field.tolist() for field in (*fields, result.edge_value, result.edge_attention)]
        for number, example in enumerate(result.examples):
            if example.error is not None:
                continue
            cells = zip(*(values[number] for values in lists), strict=True)
            for rank, (site, head, query, key, value, attention) in enumerate(cells, start=1):
                if site < 0:
                    break
                tokens = (example.tokens[query], example.tokens[key]) if keep_text else (None, None)
                place = (held.job_id, held.lo + number, rank, site, head, query, key)
                yield (*place, *tokens, value, attention)

    insert_rows(connection, tables.edge, names, rows())


def _insert_sums(connection: Connection, held: Claim, result: ShardResult) -> None:
    count, sums = shard_sums(result)
    rows = [
        {
            "job_id": held.job_id,
            "shard_no": held.shard_no,
            "site": site,
            "head": head,
            "n": count,
            **{name: float(sums[i, site, head]) for i, name in enumerate(SUM_NAMES)},
        }
        for site, info in enumerate(result.sites)
        for head in range(info.heads)
    ]
    connection.execute(insert(tables.shard_sum), rows)


def _forget_texts(connection: Connection, held: Claim) -> None:
    e = tables.example
    mine = (e.c.job_id == held.job_id) & e.c.example_no.between(held.lo, held.hi - 1)
    connection.execute(update(e).where(mine).values(text_a=None, text_b=None))
