"""Figures in the JSON API, of jobs, studies and comparisons: which there are, each as a file."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response

from db.reads import jobs as job_reads
from db.reads import operations
from scheduler.comparison.figures import figures_of_comparison
from scheduler.comparison.sides import (
    parse_jobs,
    side_of_study,
    sides_of_jobs,
    sides_of_studies,
)
from scheduler.comparison.study_figures import figures_of_study
from scheduler.figures import figures_of
from scheduler.figures.base import Figures
from scheduler.figures.examples import figures_of_example, shown_of
from scheduler.figures.over_time import figures_of_queues, figures_of_worker
from webui.api.models.figures import (
    ComparedFigureQuery,
    ExampleFigureQuery,
    FigureAnswer,
    FigureQuery,
    FiguresAnswer,
    FileQuery,
    QueueFigureQuery,
    StudiesFigureQuery,
    WorkerFigureQuery,
)
from webui.context import database, settings
from webui.contract.operations import operation
from webui.figures.drawing import content
from webui.pages.operations import queue_history, read_worker, worker_history
from webui.periods import PERIODS

TAG = "Results"
EXAMPLE = "/jobs/<int(max=2147483647):job_id>/examples/<int(max=2147483647):example_no>"
MEDIA_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "pdf": "application/pdf",
    "csv": "text/csv",
    "json": "application/json",
}

blueprint = Blueprint("figure_api", __name__, url_prefix="/api/v1")


FILE: dict[str, Any] = {
    "media_types": list(MEDIA_TYPES.values()),
    "errors": (HTTPStatus.SERVICE_UNAVAILABLE,),
}
"""The answer of an operation that draws."""


@blueprint.get("/jobs/<int(max=2147483647):job_id>/figures")
@operation(TAG, FiguresAnswer)
def list_figures(job_id: int) -> FiguresAnswer:
    """List the figures of a job, and what can be chosen of each."""
    return _listed(figures_of(job_reads.get_job(database(), job_id)))


@blueprint.get("/jobs/<int(max=2147483647):job_id>/figures/<kind>")
@operation(TAG, **FILE)
def get_figure(job_id: int, kind: str, query: FigureQuery) -> Response:
    """Draw a figure of a job, in light colours; 404 where it has no results yet.

    The answer is a file of the `format` that was asked for.
    """
    return _drawn(figures_of(job_reads.get_job(database(), job_id)), kind, query)


@blueprint.get(f"{EXAMPLE}/figures")
@operation(TAG, FiguresAnswer)
def list_example_figures(job_id: int, example_no: int) -> FiguresAnswer:
    """List the figures of an example, and what can be chosen of each."""
    return _listed(figures_of_example(shown_of(database(), job_id, example_no)))


@blueprint.get(f"{EXAMPLE}/figures/<kind>")
@operation(TAG, **FILE)
def get_example_figure(
    job_id: int, example_no: int, kind: str, query: ExampleFigureQuery
) -> Response:
    """Draw words, arcs or the tree of an example, in light colours; 404 where nothing is stored.

    The answer is a file of the `format` that was asked for.
    """
    return _drawn(figures_of_example(shown_of(database(), job_id, example_no)), kind, query)


@blueprint.get("/studies/<int(max=2147483647):study>/figures")
@operation("Studies", FiguresAnswer)
def list_study_figures(study: int) -> FiguresAnswer:
    """List the figures of a study, and what can be chosen of each."""
    return _listed(figures_of_study(side_of_study(database(), study)))


@blueprint.get("/studies/<int(max=2147483647):study>/figures/<kind>")
@operation("Studies", **FILE)
def get_study_figure(study: int, kind: str, query: FigureQuery) -> Response:
    """Draw a figure of a study, as one of a job is drawn."""
    return _drawn(figures_of_study(side_of_study(database(), study)), kind, query)


@blueprint.get("/studies/compare/figures/<kind>")
@operation("Studies", **FILE)
def get_figure_of_studies(kind: str, query: StudiesFigureQuery) -> Response:
    """Draw a figure of two studies together; the comparison lists them."""
    sides = sides_of_studies(database(), (query.a, query.b))
    return _drawn(figures_of_comparison(sides), kind, query)


@blueprint.get("/compare/figures/<kind>")
@operation(TAG, **FILE)
def get_compared_figure(kind: str, query: ComparedFigureQuery) -> Response:
    """Draw a figure of two to eight jobs together; `compare_jobs` lists them."""
    sides = sides_of_jobs(database(), parse_jobs(query.jobs))
    return _drawn(figures_of_comparison(sides), kind, query)


@blueprint.get("/operations/worker-figures/<kind>")
@operation("Operations", **FILE)
def get_worker_figure(kind: str, query: WorkerFigureQuery) -> Response:
    """Draw the speed or the memory of a worker over time: `rate`, `memory` or `device-memory`."""
    period = PERIODS[query.hours]
    _, series, _ = read_worker(query.worker, period)
    history = worker_history(query.worker, period, series)
    return _drawn(figures_of_worker(history), kind, query)


@blueprint.get("/operations/queue-figures/<kind>")
@operation("Operations", **FILE)
def get_queue_figure(kind: str, query: QueueFigureQuery) -> Response:
    """Draw what the busiest queues did over time: `waiting`, `wait` or `rate`."""
    period, now = PERIODS[query.hours], operations.read_now(database(), settings())
    queues = operations.read_queues(database(), now, period.span[0], period.step)
    return _drawn(figures_of_queues(queue_history(queues, period)), kind, query)


def _listed(figures: Figures[Any]) -> FiguresAnswer:
    return FiguresAnswer(figures=[FigureAnswer(**one) for one in figures.json(database())])


def _drawn(figures: Figures[Any], kind: str, query: FileQuery) -> Response:
    """The file of a figure with the choices of a query."""
    drawn = figures.draw(database(), kind, query.choices)
    response = Response(content(drawn.figure, query.format), mimetype=MEDIA_TYPES[query.format])
    name = f"{drawn.file_name}.{query.format}"
    kept = "inline" if query.format == "svg" else "attachment"
    response.headers["Content-Disposition"] = f'{kept}; filename="{name}"'
    return response
