"""Whole matrices of heads: computed on demand by another job, kept with the example they are of.

A row is written when the matrix is asked for, in the transaction that writes the job which computes
it, and filled by that job's commit. So only the holder of a lease can fill it, and a job whose
details are purged or that is deleted meanwhile gets no matrix back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.database import Database
from db.queue.sql import FINAL
from db.transaction import Transaction
from headwise.naming import head_name
from jobs.results.base import Floats
from jobs.results.head_matrices import HeadMatrix, pack, unpack

HOLD_JOB = """
SELECT model_fingerprint FROM job
WHERE id = :job_id AND purged_at IS NULL AND state <> 'deleting' {for_update}
"""
"""A purge marks the job, and waits for this transaction."""

COMPUTING = f"""
SELECT m.computed_by FROM head_matrix m LEFT JOIN job q ON q.id = m.computed_by
WHERE m.job_id = :job_id AND m.example_no = :example AND m.site = :site AND m.head = :head
    AND (m.attention IS NOT NULL OR q.state NOT IN {FINAL} AND q.state <> 'deleting')
"""  # noqa: S608 - constants of this file
"""The job that computed a matrix, or is about to."""

ASK = """
INSERT INTO head_matrix (job_id, example_no, site, head, computed_by)
VALUES (:job_id, :example, :site, :head, :computed_by)
ON CONFLICT (job_id, example_no, site, head) DO UPDATE SET computed_by = excluded.computed_by
WHERE head_matrix.attention IS NULL
"""

PIN = "UPDATE job SET model_fingerprint = :fingerprint WHERE id = :job_id"

COPY_SITES = """
INSERT INTO site (job_id, site, layer, kind, heads, name)
SELECT :new, site, layer, kind, heads, name FROM site WHERE job_id = :job_id
"""
"""A job whose model is known before its first shard is done has its sites from the other one."""

ASKED = """
SELECT s.layer, s.kind AS attention_type, m.head
FROM head_matrix m JOIN site s ON s.job_id = m.job_id AND s.site = m.site
WHERE m.computed_by = :job_id AND m.attention IS NULL ORDER BY m.site, m.head
"""

FILL = """
UPDATE head_matrix SET attention = :attention, attribution = :attribution
WHERE computed_by = :computed_by AND site = :site AND head = :head AND attention IS NULL
"""

MEASURE_AGAIN = """
UPDATE job_size SET measured_at = 0
WHERE job_id IN (SELECT job_id FROM head_matrix WHERE computed_by = :computed_by)
"""

MATRIX = """
SELECT computed_by, attention, attribution FROM head_matrix
WHERE job_id = :job_id AND example_no = :example AND site = :site AND head = :head
"""

STORED = """
SELECT m.example_no AS example, m.site, m.head, s.layer, s.kind AS attention_type
FROM head_matrix m JOIN site s ON s.job_id = m.job_id AND s.site = m.site
WHERE m.job_id = :job_id AND m.attention IS NOT NULL
    AND (m.example_no, m.site, m.head) > (:example, :site, :head)
ORDER BY m.example_no, m.site, m.head LIMIT :limit
"""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A head's matrices on an example: stored, or asked for."""

    computed_by: int
    """The job that computes them."""
    attention: Floats | None
    """Probabilities, float32 [n, n]; None until they are computed."""
    attribution: Floats | None


@dataclass(frozen=True, kw_only=True)
class StoredAt:
    """The place of a matrix that is stored."""

    example: int
    site: int
    head: int
    layer: int
    attention_type: str

    @property
    def name(self) -> str:
        """The name of the head."""
        return head_name(self.layer, self.head, self.attention_type)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A head of an example of an attribution job."""

    job_id: int
    example: int
    site: int
    head: int


def hold_job(tx: Transaction, job_id: int) -> tuple[bool, str | None]:
    """Keep a job from being purged until the end of the transaction.

    Returns whether it still has its details, and the fingerprint of its model.
    """
    row = tx.run(HOLD_JOB, job_id=job_id).first()
    return row is not None, None if row is None else row.model_fingerprint


def computing_job(tx: Transaction, asked: Asked) -> int | None:
    """The job that has computed a matrix, or is about to; None if one has to be submitted."""
    found = tx.run(COMPUTING, **asked.__dict__).scalar()
    return None if found is None else int(found)


def ask(
    tx: Transaction, asked: Asked, heads: Sequence[int], computed_by: int, fingerprint: str | None
) -> None:
    """Let a new job compute the matrices of some heads of a site, with the same model as before."""
    place = {**asked.__dict__, "computed_by": computed_by}
    tx.run_each(ASK, [{**place, "head": head} for head in heads])
    if fingerprint is not None:
        tx.run(PIN, job_id=computed_by, fingerprint=fingerprint)
        tx.run(COPY_SITES, job_id=asked.job_id, new=computed_by)


def asked_heads(tx: Transaction, computed_by: int) -> list[str]:
    """The names of the heads whose matrices a job computes."""
    return [
        head_name(row.layer, row.head, row.attention_type)
        for row in tx.run(ASKED, job_id=computed_by)
    ]


def rows_of(computed_by: int, matrices: Iterable[HeadMatrix]) -> list[dict[str, Any]]:
    """The values that `fill` stores of the matrices that a job has computed."""
    return [
        {
            "computed_by": computed_by,
            "site": one.site,
            "head": one.head,
            "attention": pack(one.attention),
            "attribution": pack(one.attribution),
        }
        for one in matrices
    ]


def fill(tx: Transaction, computed_by: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store what a job has computed of what it was asked for."""
    if rows:
        tx.run_each(FILL, rows)
        tx.run(MEASURE_AGAIN, computed_by=computed_by)


def read_matrix(database: Database, asked: Asked) -> Matrix | None:
    """Read a head's matrices; None if nobody has asked for them."""
    rows = database.rows(MATRIX, **asked.__dict__)
    if not rows:
        return None
    row = rows[0]
    attention, attribution = (
        None if row[name] is None else unpack(row[name]) for name in ("attention", "attribution")
    )
    return Matrix(computed_by=row["computed_by"], attention=attention, attribution=attribution)


def list_stored(
    database: Database, job_id: int, *, limit: int, after: tuple[int, int, int] | None = None
) -> list[StoredAt]:
    """List matrices of a job that are stored, by example, site and head.

    after: example, site and head of the one before the first
    """
    place = dict(zip(("example", "site", "head"), after or (-1, -1, -1), strict=True))
    found = database.rows(STORED, job_id=job_id, limit=limit, **place)
    return [StoredAt(**row) for row in found]
