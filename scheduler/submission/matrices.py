"""A head's whole matrices on a stored example: a quick job computes them where they are missing.

The job explains the same text with the same model and options, and stores the matrices with the
example that they are of. It keeps no text of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from db.accounts.audit import note_made
from db.database import Database
from db.queue import new_jobs
from db.queue.new_jobs import NewJob
from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Example, Site
from db.results import matrices
from db.results.matrices import Asked, Matrix
from db.transaction import Transaction
from headwise.naming import head_name
from jobs.errors import ConflictError, NotFoundError, refuse
from jobs.results.base import Floats
from jobs.results.head_matrices import MOST_TOKENS, stored_heads
from jobs.settings import Settings
from jobs.states import JobState
from scheduler.submission.quick_jobs import FIRST, row_again
from scheduler.submission.submit import check, new_job, rows_of


@dataclass(frozen=True, kw_only=True)
class HeadOnExample:
    """A head of an example of a job."""

    job: Job
    example: Example
    site: Site
    head: int

    @property
    def name(self) -> str:
        """The name of the head."""
        return head_name(self.site.layer, self.head, self.site.attention_type)

    @property
    def asked(self) -> Asked:
        """Its place in the database."""
        place = {"site": self.site.site, "head": self.head}
        return Asked(job_id=self.job.id, example=self.example.example, **place)


class State(StrEnum):
    """States of a head's matrices."""

    ABSENT = "absent"
    COMPUTING = "computing"
    FAILED = "failed"
    STORED = "stored"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A head's matrices on an example, as far as they are known."""

    state: State
    job: int | None = None
    """The job that computed them, or is about to."""
    message: str | None = None
    """The reason for that failure."""
    attention: Floats | None = None
    """[n, n]"""
    attribution: Floats | None = None


def on_example(
    database: Database, job_id: int, example_no: int, head: tuple[int, int, str | None]
) -> HeadOnExample:
    """A head on an example of a job.

    head: its layer, its index, and its type of attention; None for the usual one

    Raises NotFoundError for a job, an example or a head that is not there.
    """
    layer, index, attention_type = head
    job = job_reads.get_job(database, job_id)
    example = results.get_example(database, job_id, example_no)
    sites = results.list_sites(database, job_id)
    site = results.find_site(sites, job_id, layer, index, attention_type)
    return HeadOnExample(job=job, example=example, site=site, head=index)


def compute(where: HeadOnExample, settings: Settings, database: Database) -> tuple[int, bool]:
    """Let a quick job compute a head's matrices, unless they are stored or on their way.

    Returns the job that computes them, and whether it is a new one. Raises InputError for a job or
    text that has no matrices, ConflictError for a purged job.
    """
    with database.read() as tx:
        existing = matrices.computing_job(tx, where.asked)
    if existing is not None:
        return existing, False
    check_example(where.job, where.example)
    checked = check(_submission(where), settings, database)
    with rows_of(checked) as rows:
        job = new_job(checked, rows)
        # Another head of the text is other work.
        job = replace(job, values={**job.values, "dedupe_key": None})
        heads = stored_heads(where.site.heads, where.head, _length(where.example))
        found, new = new_jobs.write_jobs(database, lambda tx: _write(tx, where, heads, job))
    if new:
        note_made(f"job {found}")
    return found, new


def look_up(where: HeadOnExample, database: Database) -> Found:
    """Find out whether a head's matrices are stored, and why not."""
    matrix = matrices.read_matrix(database, where.asked)
    if matrix is None:
        return Found(state=State.ABSENT)
    if matrix.attention is not None:
        return _stored(matrix)
    number = matrix.computed_by
    try:
        job = job_reads.get_job(database, number)
    except NotFoundError:
        return Found(state=State.ABSENT)
    if not job.final:
        return Found(state=State.COMPUTING, job=number)
    # The job may have stored it, and ended, since it was looked for.
    matrix = matrices.read_matrix(database, where.asked)
    if matrix is not None and matrix.attention is not None:
        return _stored(matrix)
    return Found(state=State.FAILED, job=number, message=_reason(job, database))


def _stored(matrix: Matrix) -> Found:
    return Found(
        state=State.STORED,
        job=matrix.computed_by,
        attention=matrix.attention,
        attribution=matrix.attribution,
    )


def _reason(job: Job, database: Database) -> str:
    """The reason a job that has ended computed no matrix."""
    if job.state is JobState.CANCELLED:
        return f"Job {job.id} was cancelled."
    if job.error is not None:
        return job.error
    failed = results.list_examples(database, job.id, results.ExampleFilter(only="failed"))
    if failed and failed[0].error is not None:
        return failed[0].error
    return "The worker is of an earlier release, which computes no matrices: update it."


def _write(
    tx: Transaction, where: HeadOnExample, heads: tuple[int, ...], job: NewJob
) -> tuple[int, bool]:
    there, fingerprint = matrices.hold_job(tx, where.job.id)
    if not there:
        raise ConflictError(f"Job {where.job.id} has been purged or deleted: submit it again.")
    if (found := matrices.computing_job(tx, where.asked)) is not None:
        return found, False
    job_id = new_jobs.write_job(tx, job)
    matrices.ask(tx, where.asked, heads, job_id, fingerprint)
    return job_id, True


def check_example(job: Job, example: Example) -> None:
    """Check that matrices of an example can be computed. Raises InputError."""
    field, number, tokens = "example", example.example, _length(example)
    if job.kind != "attribution":
        message = f"belongs to job {job.id}, which is of kind {job.kind}"
        raise refuse(field, number, message, "Open an example of an attribution job.")
    if example.error is not None:
        message = f"failed: {example.error}"
        raise refuse(field, number, message, "Open another example.")
    if example.text_a is None:
        remedy = "Explain the text in the lab, and open the head there."
        raise refuse(field, number, "has a text that is not stored any more", remedy)
    if tokens > MOST_TOKENS:
        message = f"has {tokens} tokens, and matrices are stored of up to {MOST_TOKENS}"
        remedy = (
            "Shorten the text in the lab, or name the head to headwise.attribute(..., heads=...)."
        )
        raise refuse(field, number, message, remedy)


def _length(example: Example) -> int:
    """Number of its tokens."""
    return len(example.tokens or (example.token_attribution or ((),))[0])


def _submission(where: HeadOnExample) -> dict[str, Any]:
    """The raw submission of the same work on one text."""
    job, example, data = where.job, where.example, where.job.spec["data"]
    inline = {
        "inline": True,
        "text_columns": data["text_columns"],
        "label_column": data["label_column"],
    }
    return {
        "spec": {**job.spec, "data": inline, "keep_text": False},
        "rows": [row_again(job, example.text_a, example.text_b, example.gold)],
        "name": f"Matrix of {where.name}, job {job.id}, example {example.example}",
        "priority": FIRST,
        "queue": job.queue,
        "again": True,
    }
