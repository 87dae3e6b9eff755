"""Queues, workers, users, errors and disk, as the page Operations shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from db.ops.fleet import Worker
from db.ops.job_sizes import Whole
from db.ops.samples import Sample, Total
from db.reads.errors import ErrorGroup
from db.reads.operations import Queue, User
from db.reads.workers import WorkerAttempt
from jobs.states import JobState
from webui.contract.models import Answer, Page, PageQuery, Query
from webui.periods import DEFAULT_PERIOD, PeriodField


class PeriodQuery(Query):
    """The time to look at."""

    hours: PeriodField = DEFAULT_PERIOD


class WorkerTotalAnswer(Answer):
    """The work of a worker."""

    name: str
    alive: bool
    total: Total
    examples_per_second: float | None
    """While it worked; null if it did not."""


class OperationsAnswer(Answer):
    """The work of queues, workers and users, and failures."""

    step_seconds: int
    """Length of a sample."""
    queues: list[Queue]
    """The busiest first."""
    workers: list[WorkerTotalAnswer]
    users: list[User]
    """Those who used most in the last seven days first."""
    errors: list[ErrorGroup]
    """Grouped by message, apart from numbers, paths and names; those that occurred most first."""


class WorkerAnswer(Answer):
    """A worker and its history."""

    name: str
    worker: Worker | None
    """As it is; null if it has not been seen for a day."""
    step_seconds: int
    """Length of a sample."""
    samples: list[Sample]
    attempts: list[WorkerAttempt]
    """The newest, newest first."""


class SizeQuery(PageQuery):
    """The sizes to list."""

    order: Literal["size", "details", "age", "examples", "user"] = Field(
        default="size",
        description="Largest first, most to purge, oldest, most examples, or by user.",
    )


class SizeAnswer(Answer):
    """A job and the space of its rows."""

    job: int
    kind: str
    name: str
    user: str
    state: JobState
    examples: int
    bytes: int | None
    """Approximately; null before it was measured."""
    details: int | None
    """Bytes of those that a purge removes."""
    purged_at: float | None


class SizePage(Page):
    """Sizes of jobs."""

    whole: Whole
    """The space of all jobs."""
    sizes: list[SizeAnswer]
