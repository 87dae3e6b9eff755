"""The data of pruning jobs: masks and points when planned, sums by shard, curves at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import RowMapping, select

from db import schema
from db.database import Database
from db.kinds.base import Kind, KindPlan
from db.queue.claims import Claim
from db.queue.examples import ExampleRow, text_hashes
from db.results import rankings
from db.results.bulk import insert_rows
from db.results.job_results import JobResults
from db.results.rankings import Ranked
from db.transaction import Transaction
from headwise.stats.sums import MaskSums, choose_step
from jobs.errors import InputError, NotFoundError, refuse
from jobs.kinds.pruning import Direction, PruningResult, PruningScope, PruningSpec, curves
from jobs.results.base import SiteInfo
from jobs.scheduling.plan import Lease

MEASURES = ("accuracy", "macro_f1", "loss")

POINTS = """
SELECT p.point_no, p.source_no, p.source, p.draw, p.direction, p.scope, p.share, p.removed,
    p.mask_no
FROM curve_point p WHERE p.job_id = :job_id ORDER BY p.point_no
"""
MASK_RESULTS = """
SELECT mask_no, n, accuracy, accuracy_low, accuracy_high, macro_f1, macro_f1_low, macro_f1_high,
    loss, loss_low, loss_high
FROM mask_result WHERE job_id = :job_id ORDER BY mask_no
"""
REMOVED = "SELECT heads FROM mask WHERE job_id = :job_id AND mask_no = :mask_no"
CHOICE = """
SELECT c.given, c.overlap, c.chosen_mask, m.removed, c.search_n, c.search_whole,
    c.search_accuracy, c.search_low, c.search_high, c.held_out_n, c.held_out_whole,
    c.held_out_accuracy, c.held_out_low, c.held_out_high, c.verified
FROM pruning c LEFT JOIN mask m ON m.job_id = c.job_id AND m.mask_no = c.chosen_mask
WHERE c.job_id = :job_id
"""

SOURCES = """
SELECT r.job_id, j.name, j.kind, r.source FROM ranking r JOIN job j ON j.id = r.job_id
WHERE r.site = 0 AND r.head = 0 AND j.state = 'succeeded' ORDER BY r.job_id DESC, r.source LIMIT 100
"""

Removed = list[list[int]]
"""Removed heads as [site, head]."""


@dataclass(frozen=True, kw_only=True)
class MaskResult:
    """Quality of the model without the heads of a mask, with 95 % intervals; None if undefined."""

    mask_no: int
    n: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    macro_f1: float | None
    macro_f1_low: float | None
    macro_f1_high: float | None
    loss: float | None
    loss_low: float | None
    loss_high: float | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a curve, see `jobs.kinds.pruning.CurvePoint`, and its result."""

    point_no: int
    source_no: int
    source: str
    draw: int
    direction: Direction
    scope: PruningScope
    share: float
    removed: int
    mask_no: int
    result: MaskResult | None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The counts of a job's examples, and its chosen mask; see `db.schema.pruning`."""

    given: int
    overlap: int
    chosen_mask: int | None
    removed: int | None
    search_n: int | None
    search_whole: float | None
    search_accuracy: float | None
    search_low: float | None
    search_high: float | None
    held_out_n: int | None
    held_out_whole: float | None
    held_out_accuracy: float | None
    held_out_low: float | None
    held_out_high: float | None
    verified: bool | None


def plan(
    tx: Transaction, _job_id: int, spec: PruningSpec, examples: Sequence[ExampleRow]
) -> KindPlan:
    """Plan the masks of every curve; leave out examples that the heads were ranked with."""
    means = [rankings.read(tx, one.job, one.source) for one in spec.sources]
    for place, (source, mean) in enumerate(zip(spec.sources, means, strict=True)):
        if not mean.size or mean.shape != means[0].shape:
            message = f"ranks {list(mean.shape)} sites and heads, not {list(means[0].shape)}"
            raise refuse(f"sources.{place}.job", source.job, message, "Give another job.")
    used = text_hashes(tx, {one.job for one in spec.sources})
    fresh = [example for example in examples if example.text_hash not in used]
    overlap = len(examples) - len(fresh)
    if not fresh and not spec.allow_overlap:
        raise InputError(spec.nothing_left(len(examples)))
    found = curves(spec, means, _sites(tx, spec.sources[0].job))
    masks = [
        {"mask_no": number, "removed": int(mask.sum()), "heads": json.dumps(_listed(mask))}
        for number, mask in enumerate(found.masks)
    ]
    points = [{"point_no": n, **point.__dict__} for n, point in enumerate(found.points)]
    facts = [{"given": len(examples), "overlap": overlap}]
    return KindPlan(
        rows={schema.mask: masks, schema.curve_point: points, schema.pruning: facts},
        examples=fresh if overlap and not spec.allow_overlap else None,
        cost=found.cost,
    )


def _sites(tx: Transaction, job_id: int) -> list[SiteInfo]:
    s = schema.site.c
    query = select(s.layer, s.kind, s.heads, s.name).where(s.job_id == job_id).order_by(s.site)
    return [
        SiteInfo(layer=row.layer, attention_type=row.kind, heads=row.heads, name=row.name)
        for row in tx.execute(query)
    ]


def inputs(tx: Transaction, job_id: int) -> list[Removed]:
    """Read the removed heads of every mask, in order."""
    m = schema.mask.c
    query = select(m.heads).where(m.job_id == job_id).order_by(m.mask_no)
    return [json.loads(heads) for heads in tx.execute(query).scalars()]


def prepare(lease: Lease, result: PruningResult, _keep_text: bool) -> list[tuple[Any, ...]]:
    """Compute the rows of a shard's sums for every mask."""
    return [
        (lease.job_id, lease.shard_no, half, mask, n, loss, squares, _sparse(confusion))
        for half, sums in enumerate(result.halves)
        for mask, (n, loss, squares, confusion) in enumerate(
            zip(
                sums.n.tolist(),
                sums.loss_sum.tolist(),
                sums.loss_squares.tolist(),
                sums.confusion,
                strict=True,
            )
        )
    ]


def commit(tx: Transaction, held: Claim, rows: list[tuple[Any, ...]]) -> None:
    """Write a shard's sums for every mask."""
    names = [column.name for column in schema.mask_sum.columns]
    insert_rows(tx, schema.mask_sum, held.job_id, names, rows)


def finish(tx: Transaction, job_id: int) -> JobResults | None:
    """Merge the sums into a result for each mask, and choose one; None without any."""
    halves = _merged(tx, job_id)
    if halves is None:
        return None
    results = _results(halves[0] + halves[1])
    choice = _choose(tx, job_id, halves)
    p = schema.pruning.c
    planned = tx.execute(select(p.given, p.overlap).where(p.job_id == job_id)).mappings()
    lines = [*(repr(result) for result in results), repr(sorted(choice.items()))]
    return JobResults(
        rows={
            schema.mask_result: [result.__dict__ for result in results],
            schema.pruning: [{**row, **choice} for row in planned],
        },
        result_hash=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    )


def get_points(database: Database, job_id: int) -> tuple[list[Point], bool]:
    """Get a job's points, and whether they are provisional: merged from the shards done so far."""
    mine = {"job_id": job_id}
    with database.read() as tx:
        points, rows = tx.rows(POINTS, **mine), tx.rows(MASK_RESULTS, **mine)
        results = [MaskResult(**row) for row in rows]
        if not rows and (halves := _merged(tx, job_id)) is not None:
            results = _results(halves[0] + halves[1])
    by_mask = {result.mask_no: result for result in results}
    return [_point(row, by_mask.get(row["mask_no"])) for row in points], not rows


def _point(row: RowMapping, result: MaskResult | None) -> Point:
    typed = {"direction": Direction(row["direction"]), "scope": PruningScope(row["scope"])}
    return Point(**{**row, **typed}, result=result)


def list_sources(database: Database) -> list[Ranked]:
    """List the newest rankings of finished jobs, on any model."""
    return [Ranked(**row) for row in database.rows(SOURCES)]


def get_choice(database: Database, job_id: int) -> Choice | None:
    """Get the counts of the job's examples and its choice; None before it is planned."""
    for row in database.rows(CHOICE, job_id=job_id):
        verified = row["verified"]
        return Choice(**{**row, "verified": None if verified is None else bool(verified)})
    return None


def get_removed(database: Database, job_id: int, mask_no: int) -> Removed:
    """Get the heads that a mask removes. Raises NotFoundError."""
    found = database.value(REMOVED, job_id=job_id, mask_no=mask_no)
    if found is None:
        raise NotFoundError(f"Job {job_id} has no mask {mask_no}.")
    removed: Removed = json.loads(found)
    return removed


def _listed(mask: NDArray[np.bool_]) -> Removed:
    found: Removed = np.argwhere(mask).tolist()
    return found


def _sparse(confusion: NDArray[np.int64]) -> str:
    cells = np.argwhere(confusion)
    return json.dumps([[*cell, int(confusion[tuple(cell)])] for cell in cells.tolist()])


def _merged(tx: Transaction, job_id: int) -> tuple[MaskSums, MaskSums] | None:
    """Add up both halves over the shards done so far, in shard order; None without any."""
    s, j, m = schema.mask_sum.c, schema.job.c, schema.mask.c
    labels = tx.execute(select(j.labels).where(j.id == job_id)).scalar()
    if labels is None:  # it was deleted
        return None
    classes = len(json.loads(labels))
    masks = len(tx.execute(select(m.mask_no).where(m.job_id == job_id)).all())
    losses = np.zeros((2, 2, masks))
    confusion = np.zeros((2, masks, classes, classes), dtype=np.int64)
    query = select(s.half, s.mask_no, s.loss_sum, s.loss_squares, s.confusion)
    mine = query.where(s.job_id == job_id).order_by(s.shard_no, s.half, s.mask_no)
    for half, mask, loss, squares, cells in tx.execute(mine):
        losses[half, :, mask] += (loss, squares)
        for gold, predicted, count in json.loads(cells):
            confusion[half, mask, gold, predicted] += count
    if not confusion.any():
        return None
    failed = np.zeros(masks, dtype=np.int64)
    one, other = (
        MaskSums(
            loss_sum=losses[half, 0],
            loss_squares=losses[half, 1],
            confusion=confusion[half],
            failed=failed,
        )
        for half in (0, 1)
    )
    return one, other


def _results(sums: MaskSums) -> list[MaskResult]:
    estimates = (sums.accuracy(), sums.macro_f1(), sums.loss())
    return [
        MaskResult(
            mask_no=mask,
            n=int(n),
            **{
                measure + end: _number(values[mask])
                for measure, estimate in zip(MEASURES, estimates, strict=True)
                for end, values in zip(("", "_low", "_high"), estimate, strict=True)
            },
        )
        for mask, n in enumerate(sums.n)
    ]


def _choose(tx: Transaction, job_id: int, halves: tuple[MaskSums, MaskSums]) -> dict[str, Any]:
    """Choose a mask on one half, from the points of scope `choice`, and verify it on the other."""
    j, p = schema.job.c, schema.curve_point.c
    spec = json.loads(tx.execute(select(j.spec).where(j.id == job_id)).scalar_one())
    tried = (
        select(p.mask_no)
        .where(p.job_id == job_id, p.scope == PruningScope.CHOICE.value)
        .order_by(p.removed)
    )
    masks = list(tx.execute(tried).scalars())
    if not masks:
        return {}
    within = float(spec["within"])
    search, held_out = halves
    chosen = masks[choose_step(_of(search, masks), within)]
    both = [masks[0], chosen]
    found: dict[str, Any] = {"chosen_mask": chosen}
    for half, sums in (("search", _of(search, both)), ("held_out", _of(held_out, both))):
        accuracy = sums.accuracy()
        found |= {
            f"{half}_n": int(sums.n[1]),
            f"{half}_whole": _number(accuracy.value[0]),
            f"{half}_accuracy": _number(accuracy.value[1]),
            f"{half}_low": _number(accuracy.low[1]),
            f"{half}_high": _number(accuracy.high[1]),
        }
    found["verified"] = choose_step(_of(held_out, both), within) == 1
    return found


def _of(sums: MaskSums, masks: Sequence[int]) -> MaskSums:
    rows = list(masks)
    return MaskSums(
        loss_sum=sums.loss_sum[rows],
        loss_squares=sums.loss_squares[rows],
        confusion=sums.confusion[rows],
        failed=sums.failed[rows],
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


KIND = Kind(plan=plan, inputs=inputs, prepare=prepare, commit=commit, finish=finish, large=())
