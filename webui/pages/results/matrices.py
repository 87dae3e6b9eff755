"""A head's matrices on one example: a section of the head's page, and the button that computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request, url_for

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Example, Site
from db.reads.status import Status, status_of
from jobs.errors import InputError
from jobs.results.head_matrices import MOST_TOKENS
from scheduler.figures.attribution import matrix_figure
from scheduler.submission.matrices import (
    Found,
    HeadOnExample,
    State,
    check_example,
    compute,
    look_up,
    on_example,
)
from webui.context import choice, database, integer, optional_integer, redirect, settings
from webui.figures.shown import ShownChart, show_fetched
from webui.heads import url_values

blueprint = Blueprint("matrices", __name__)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell in the row of a token: the token that is read, and the two values."""

    key: int
    token: str
    attention: float
    attribution: float


@dataclass(frozen=True, kw_only=True)
class Section:
    """The section of a head's page about one example."""

    example: Example
    found: Found
    computing: Job | None
    """The job that computes the matrices, until they are stored."""
    status: Status | None
    """Its status."""
    figure: ShownChart | None
    tokens: tuple[str, ...] = ()
    row: int = 0
    """The token whose row is shown as a table."""
    cells: tuple[Cell, ...] = ()
    refused: str | None = None
    """The reason the matrices cannot be computed."""
    most: int = MOST_TOKENS


@blueprint.post(
    "/jobs/<int(max=2147483647):job_id>/heads/<int(max=32767):layer>/<int(max=32767):head>/matrix"
)
def compute_matrix(job_id: int, layer: int, head: int) -> Response:
    """Compute the matrices of a head on an example, and go back to the head's page."""
    number = integer("example", 0, source=request.form)
    place = (layer, head, request.form.get("attention_type"))
    where = on_example(database(), job_id, number, place)
    compute(where, settings(), database())
    address = {**url_values(where.site, head), "example": number, "_anchor": "matrix"}
    return redirect(url_for("results.head", job_id=job_id, **address))


def section(job: Job, site: Site, head: int, strongest: list[Any]) -> Section | None:
    """The matrices on ?example=, by default the one where the head is strongest.

    ?row= is the token whose row stands as a table. Raises NotFoundError for an unknown example.
    """
    number = optional_integer("example")
    if number is None:
        if not strongest:
            return None
        number = int(strongest[0]["example_no"])
    example = results.get_example(database(), job.id, number)
    where = HeadOnExample(job=job, example=example, site=site, head=head)
    found = look_up(where, database())
    computing = None
    if found.state in (State.COMPUTING, State.FAILED) and found.job is not None:
        computing = job_reads.get_job(database(), found.job)
    status = status_of(database(), computing, settings()) if computing else None
    if found.attention is None or found.attribution is None:
        return Section(
            example=example,
            found=found,
            computing=computing,
            status=status,
            figure=None,
            refused=_refused(job, example),
        )
    n = len(found.attention)
    tokens = example.named_tokens(n)
    figure = matrix_figure(job, example, where.name, found.attention, found.attribution)
    chosen = {"example": str(number), "head": where.name}
    best = int(found.attribution.argmax()) // n
    row = int(choice("row", [str(position) for position in range(n)], str(best)))
    return Section(
        example=example,
        found=found,
        computing=None,
        status=None,
        figure=show_fetched(job, "matrix", figure, chosen),
        tokens=tokens,
        row=row,
        cells=tuple(
            Cell(
                key=key,
                token=tokens[key],
                attention=float(found.attention[row, key]),
                attribution=float(found.attribution[row, key]),
            )
            for key in range(n)
        ),
    )


def _refused(job: Job, example: Example) -> str | None:
    try:
        check_example(job, example)
    except InputError as error:
        (problem,) = error.problems
        return f"The example {problem.message}. {problem.remedy}"
    return None
