"""The data of attribution jobs: scores, edges, completeness; head importance at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Table, insert, select

from db import schema
from db.kinds.base import Kind
from db.queue.claims import Claim
from db.results import digest, matrices, rankings
from db.results.bulk import Columns, insert_columns
from db.results.job_results import JobResults
from db.transaction import Transaction
from jobs.kinds.attribution import AttributionResult, shard_sums
from jobs.kinds.head_importance import (
    SUM_NAMES,
    HeadImportance,
    HeadSums,
    head_importance,
    importance_hash,
)
from jobs.results.base import HeadRank
from jobs.scheduling.plan import Lease, blocks

_MEANS = {
    "attattr": "mean",
    "attattr-total": "mean_total",
    "attattr-absolute-total": "mean_absolute_total",
    "attention": "mean_attention_max",
}
"""Columns of head importance that hold the means of sources."""


def inputs(tx: Transaction, job_id: int) -> list[str]:
    """Return the names of the heads whose whole matrices somebody asked this job for."""
    return matrices.asked_heads(tx, job_id)


@dataclass(frozen=True, kw_only=True)
class AttributionRows:
    """An attribution job's own rows of a shard."""

    columns: tuple[tuple[Table, Columns], ...]
    """Those of tables with many rows per example."""
    sums: list[dict[str, Any]]
    strongest: dict[str, Any]
    matrices: list[dict[str, Any]]


def prepare(lease: Lease, result: AttributionResult, keep_text: bool) -> AttributionRows:
    """Compute a shard's rows."""
    numbers = lease.lo + np.flatnonzero(result.ok)
    return AttributionRows(
        columns=(
            (schema.head_score, _head_scores(lease.job_id, numbers, result)),
            (schema.site_result, _site_results(lease.job_id, numbers, result)),
            (schema.edge, _edges(lease, result, keep_text)),
        ),
        sums=_sums(lease, result),
        strongest=digest.strongest_row(lease, numbers, np.asarray(result.score)[result.ok]),
        matrices=matrices.rows_of(lease.job_id, chain.from_iterable(result.matrices)),
    )


def commit(tx: Transaction, held: Claim, rows: AttributionRows) -> None:
    """Write a shard's rows."""
    for table, columns in rows.columns:
        insert_columns(tx, table, held.job_id, columns)
    tx.execute(insert(schema.shard_sum), rows.sums)
    tx.execute(insert(schema.shard_top), rows.strongest)
    matrices.fill(tx, held.job_id, rows.matrices)


def finish(tx: Transaction, job_id: int) -> JobResults | None:
    """Merge the sums into head importance, with rankings and digest; None without any sums."""
    heads = head_importance(_read_sums(tx, job_id))
    if not heads:
        return None
    ranked = rankings.merge(tx, job_id)
    # Shards of releases without rankings have no replicates.
    if not ranked or ranked[0].n != heads[0].n:
        ranked = _ranked_without_intervals(heads)
    j = schema.job.c
    examples = tx.execute(select(j.examples).where(j.id == job_id)).scalar_one()
    return JobResults(
        rows={
            schema.importance: [head.__dict__ for head in heads],
            schema.ranking: [head.__dict__ for head in ranked],
            **digest.rows_of(tx, job_id, examples),
        },
        result_hash=importance_hash(heads),
    )


def _ranked_without_intervals(heads: list[HeadImportance]) -> list[HeadRank]:
    """Derive rankings, without intervals, from head importance."""
    found = []
    for source, name in _MEANS.items():
        mean = attrgetter(name)
        order = sorted(heads, key=lambda head: (head.site, head.head))
        order.sort(key=mean, reverse=True)
        for rank, head in enumerate(order, start=1):
            error = head.std / math.sqrt(head.n) if name == "mean" and head.std else None
            found.append(
                HeadRank(
                    source=source,
                    site=head.site,
                    head=head.head,
                    n=head.n,
                    mean=mean(head),
                    standard_error=error,
                    rank=rank,
                    rank_low=None,
                    rank_high=None,
                )
            )
    return found


def _read_sums(tx: Transaction, job_id: int) -> Iterator[HeadSums]:
    """Read the sums of a job's shards, in shard order."""
    s = schema.shard_sum.c
    columns = [s.site, s.head, s.n, *(s[name] for name in SUM_NAMES)]
    query = select(*columns).where(s.job_id == job_id).order_by(s.shard_no, s.site, s.head)
    for row in tx.execute(query.execution_options(yield_per=10_000)):
        yield HeadSums(**row._mapping)


def _head_scores(job_id: int, numbers: NDArray[np.int64], result: AttributionResult) -> Columns:
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
    return {name: values[keep] for name, values in grid.items()}


def _site_results(job_id: int, numbers: NDArray[np.int64], result: AttributionResult) -> Columns:
    ok, sites = result.ok, len(result.sites)
    columns: dict[str, NDArray[Any]] = {
        "job_id": np.full(len(numbers) * sites, job_id),
        "example_no": np.repeat(numbers, sites),
        "site": np.tile(np.arange(sites), len(numbers)),
    }
    for name in ("f0", "f1", "residual", "points", "converged"):
        columns[name] = getattr(result, name)[ok].ravel()
    return columns


def _edges(lease: Lease, result: AttributionResult, keep_text: bool) -> Columns:
    # The cells of an example end where there is no site.
    stored = np.logical_and.accumulate(result.edge_site >= 0, axis=1) & result.ok[:, None]
    rows, ranks = np.nonzero(stored)
    query, key = result.edge_query[stored], result.edge_key[stored]
    columns: dict[str, NDArray[Any] | list[str | None]] = {
        "job_id": np.full(rows.shape, lease.job_id),
        "example_no": lease.lo + rows,
        "rank": ranks + 1,
        "site": result.edge_site[stored],
        "head": result.edge_head[stored],
        "query": query,
        "key": key,
        "attribution": result.edge_value[stored],
        "attention": result.edge_attention[stored],
    }
    if keep_text:
        owners = [result.examples[row] for row in rows.tolist()]
        for name, tokens in (("query", query), ("key", key)):
            # No list of pairs: while it is made and collected, no other thread runs.
            places = tokens.tolist()
            columns[f"{name}_token"] = [
                e.tokens[at] if e.tokens else None for e, at in zip(owners, places, strict=True)
            ]
            columns[f"{name}_word"] = [
                e.word(at) if e.tokens else None for e, at in zip(owners, places, strict=True)
            ]
    return columns


def _sums(lease: Lease, result: AttributionResult) -> list[dict[str, Any]]:
    """The sums of each block: the rounding of sums of shards would depend on the cuts."""
    hi = lease.lo + len(result.examples)
    rows = []
    for lo, end in blocks(lease.lo, hi, lease.block):
        count, sums = shard_sums(result, lo - lease.lo, end - lease.lo)
        rows += [
            {
                "job_id": lease.job_id,
                "shard_no": lo if lease.block else lease.shard_no,
                "site": site,
                "head": head,
                "n": count,
                **{name: float(sums[i, site, head]) for i, name in enumerate(SUM_NAMES)},
            }
            for site, info in enumerate(result.sites)
            for head in range(info.heads)
        ]
    return rows


KIND = Kind(
    inputs=inputs,
    prepare=prepare,
    commit=commit,
    finish=finish,
    large=(schema.head_score, schema.site_result, schema.edge, schema.example_result),
)
