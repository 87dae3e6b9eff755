"""Queues, users, sizes of jobs, errors, and the history of a worker in the JSON API."""

from __future__ import annotations

from flask import Blueprint

from db.ops import job_sizes
from db.ops.job_sizes import JobSize
from db.reads import operations
from db.reads.errors import read_errors
from webui.api.models.operations import (
    OperationsAnswer,
    PeriodQuery,
    SizeAnswer,
    SizePage,
    SizeQuery,
    WorkerAnswer,
    WorkerTotalAnswer,
)
from webui.context import database, settings
from webui.contract import cursors
from webui.contract.operations import operation
from webui.pages.operations import read_worker
from webui.periods import PERIODS

TAG = "Operations"

blueprint = Blueprint("operations_api", __name__, url_prefix="/api/v1")


@blueprint.get("/operations")
@operation(TAG, OperationsAnswer)
def get_operations(query: PeriodQuery) -> OperationsAnswer:
    """Get what queues, workers and users did in the last hours, and what failed."""
    opened, period = database(), PERIODS[query.hours]
    now, since = operations.read_now(opened, settings()), period.span[0]
    return OperationsAnswer(
        step_seconds=period.step,
        queues=operations.read_queues(opened, now, since, period.step),
        workers=[
            WorkerTotalAnswer(
                name=one.name,
                alive=one.alive,
                total=one.total,
                examples_per_second=one.total.rate,
            )
            for one in operations.read_workers(opened, now, since)
        ],
        users=operations.read_users(opened, now),
        errors=read_errors(opened, since),
    )


@blueprint.get("/operations/disk")
@operation(TAG, SizePage)
def list_sizes(query: SizeQuery) -> SizePage:
    """List the space that jobs take."""
    offset = max(0, cursors.number(query.cursor) or 0)
    found = job_sizes.list_sizes(database(), query.order, limit=query.limit + 1, offset=offset)
    shown, following = cursors.cut(found, query.limit, lambda _: (offset + query.limit,))
    return SizePage(
        whole=job_sizes.read_whole(database()),
        sizes=[_size(one) for one in shown],
        next=following,
    )


@blueprint.get("/workers/<path:name>")
@operation(TAG, WorkerAnswer)
def get_worker(name: str, query: PeriodQuery) -> WorkerAnswer:
    """Get a worker, its samples of the last hours, and its newest attempts."""
    period = PERIODS[query.hours]
    found, series, attempts = read_worker(name, period)
    return WorkerAnswer(
        name=name, worker=found, step_seconds=period.step, samples=series, attempts=attempts
    )


def _size(one: JobSize) -> SizeAnswer:
    names = ("kind", "name", "user", "state", "examples", "bytes", "details", "purged_at")
    return SizeAnswer(job=one.id, **{name: getattr(one, name) for name in names})
