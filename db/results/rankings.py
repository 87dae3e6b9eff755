"""Rankings of heads by source: the sums of shards, and the rankings merged from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, select

from db import schema
from db.database import Database
from db.results.job_results import JobResults
from db.transaction import Transaction
from headwise.stats import exact
from headwise.stats.ranking import Importance, ImportanceSums
from jobs.errors import NotFoundError
from jobs.results.base import HeadRank, ranking_hash
from jobs.scheduling.plan import Lease

RANKING = """
SELECT source, site, head, n, mean, standard_error, rank, rank_low, rank_high
FROM ranking WHERE job_id = :job_id ORDER BY source, site, head
"""
RANKED = """
SELECT r.job_id, j.name, j.kind, r.source FROM ranking r JOIN job j ON j.id = r.job_id
WHERE r.site = 0 AND r.head = 0 AND j.layers = :layers AND j.heads = :heads
ORDER BY CASE r.job_id WHEN :job_id THEN 0 ELSE 1 END, r.job_id DESC, r.source LIMIT :most
"""
"""The rankings of models of one shape: those of a job, and the newest others."""
MOST_OFFERED = 1_000
"""Rankings that one can be compared with."""

_SPREAD = """
SELECT shard_no FROM (
    SELECT shard_no, ROW_NUMBER() OVER (ORDER BY shard_no) AS place, COUNT(*) OVER () AS parts
    FROM {parts}) done
WHERE place % ((parts + :most - 1) / :most) = 0
"""
SPREAD = _SPREAD.format(parts="shard WHERE job_id = :job_id AND state = 'done'")
"""At most :most of the shards done so far, evenly spaced."""
SPREAD_BLOCKS = _SPREAD.format(parts="shard_sum WHERE job_id = :job_id AND site = 0 AND head = 0")
"""The same for blocks, in jobs that have sums of blocks."""

PROVISIONAL = 200
"""Most shards or blocks that provisional results are merged from; more would slow pages down."""

_FLOAT = np.dtype("<f8")
_ARRAYS = ("total", "squares", "weights", "replicates")


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """An available ranking."""

    job_id: int
    name: str
    kind: str
    source: str


def get_rankings(database: Database, job_id: int) -> tuple[list[HeadRank], bool]:
    """Get a job's rankings; also tell whether they are merged from only some shards."""
    with database.read() as tx:
        rows = tx.rows(RANKING, job_id=job_id)
        if rows:
            return [HeadRank(**row) for row in rows], False
        return merge(tx, job_id, intervals=False), True


def list_rankings(database: Database, job_id: int, layers: int, heads: int) -> list[Ranked]:
    """List the rankings of finished jobs on models of a job's shape, its own included.

    The newest come first.
    """
    shape = {"layers": layers, "heads": heads}
    found = database.rows(RANKED, job_id=job_id, most=MOST_OFFERED, **shape)
    return sorted((Ranked(**row) for row in found), key=lambda one: (-one.job_id, one.source))


def get_means(database: Database, job_id: int, source: str) -> NDArray[np.float64]:
    """Get the means of `read`. Raises NotFoundError if the job has no such ranking."""
    with database.read() as tx:
        means = read(tx, job_id, source)
    if not means.size:
        raise NotFoundError(f"Job {job_id} has no ranking by {source!r}.")
    return means


def sum_rows(lease: Lease, sums: Mapping[str, ImportanceSums]) -> list[dict[str, Any]]:
    """Return the rows of a shard's sums for the ranking by each source."""
    place = {"job_id": lease.job_id, "shard_no": lease.shard_no}
    return [
        {
            **place,
            "source": source,
            "n": part.n,
            **{name: getattr(part, name).astype(_FLOAT).tobytes() for name in _ARRAYS},
        }
        for source, part in sums.items()
    ]


def merge(tx: Transaction, job_id: int, *, intervals: bool = True) -> list[HeadRank]:
    """Merge the shards done so far into rankings, in shard order.

    Without intervals only some shards are read (`spread_shards`), and not their replicates, which
    are most of the bytes.
    """
    s, grid = schema.ranking_sum.c, _grid(tx, job_id)
    names = _ARRAYS if intervals else _ARRAYS[:2]
    query = select(s.source, s.n, *(s[name] for name in names)).where(s.job_id == job_id)
    if not intervals:
        query = query.where(s.shard_no.in_(spread_shards(tx, job_id)))
    found: list[HeadRank] = []
    # A few at a time: the replicates of thousands of shards are gigabytes.
    query = query.order_by(s.source, s.shard_no).execution_options(yield_per=20)
    rows = tx.execute(query)
    for source, parts in groupby(rows, key=lambda row: str(row.source)):
        sums = reduce(add, (_sums(row, grid, intervals=intervals) for row in parts))
        if sums.n:
            found += _ranks(sums.importance(source), intervals=intervals)
    return found


def spread_shards(tx: Transaction, job_id: int) -> list[int]:
    """Pick at most PROVISIONAL of the shards done so far, evenly spaced."""
    values = {"job_id": job_id, "most": PROVISIONAL}
    return list(tx.run(SPREAD, **values).scalars())


def spread_blocks(tx: Transaction, job_id: int) -> list[int]:
    """Pick the first examples of at most PROVISIONAL blocks done so far, evenly spaced."""
    values = {"job_id": job_id, "most": PROVISIONAL}
    return list(tx.run(SPREAD_BLOCKS, **values).scalars())


def finish(tx: Transaction, job_id: int) -> JobResults | None:
    """Merge the sums into rankings; None if nothing was computed."""
    heads = merge(tx, job_id)
    if not heads:
        return None
    rows = {schema.ranking: [head.__dict__ for head in heads]}
    return JobResults(rows=rows, result_hash=ranking_hash(heads))


def read(tx: Transaction, job_id: int, source: str) -> NDArray[np.float64]:
    """Read a finished job's mean importance by one source, [S, H]; empty without such a ranking.

    NaN for heads that a site lacks, and for sites that the source does not rank.
    """
    r = schema.ranking.c
    mine = (r.job_id == job_id) & (r.source == source)
    rows = tx.execute(select(r.site, r.head, r.mean).where(mine)).all()
    grid = np.full(_grid(tx, job_id) if rows else (0, 0), np.nan)
    for site, head, mean in rows:
        grid[site, head] = mean
    return grid


def _grid(tx: Transaction, job_id: int) -> tuple[int, int]:
    """The number of a job's sites, and of the heads of the widest."""
    sites = schema.site.c
    heads = list(tx.execute(select(sites.heads).where(sites.job_id == job_id)).scalars())
    return len(heads), max(heads, default=0)


def _sums(
    row: Row[tuple[object, ...]], grid: tuple[int, int], *, intervals: bool
) -> ImportanceSums:
    total, squares = (_parts(stored, grid, exact.WIDE) for stored in (row.total, row.squares))
    weights, replicates = np.ones(1), total[:, None]
    if intervals:
        weights = np.frombuffer(row.weights, dtype=_FLOAT)
        replicates = _parts(row.replicates, (len(weights), *grid), exact.NARROW)
    return ImportanceSums(
        n=row.n, total=total, squares=squares, weights=weights, replicates=replicates
    )


def _parts(stored: bytes, shape: tuple[int, ...], units: tuple[int, ...]) -> NDArray[np.float64]:
    """Decode sums in parts, [parts, *shape]. Workers of old releases stored plain sums."""
    array: NDArray[np.float64] = np.frombuffer(stored, dtype=_FLOAT).reshape(-1, *shape)
    return exact.split(array[0], units) if len(array) == 1 else array


def _ranks(found: Importance, *, intervals: bool) -> list[HeadRank]:
    return [
        HeadRank(
            source=found.source,
            site=site,
            head=head,
            n=found.n,
            mean=float(found.mean[site, head]),
            standard_error=float(found.standard_error[site, head]) if found.n > 1 else None,
            rank=int(found.rank[site, head]),
            rank_low=int(found.rank_low[site, head]) if intervals else None,
            rank_high=int(found.rank_high[site, head]) if intervals else None,
        )
        for site, head in np.argwhere(found.rank > 0).tolist()
    ]
