"""Two to eight jobs side by side; two studies are shown with the same sections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for

from db.reads import job_list
from db.reads.job_list import JobFilter
from db.reads.jobs import Job
from jobs.kinds import NAMES, SPECS
from scheduler.comparison.accuracy import quality_of
from scheduler.comparison.agreement import agreements, agreements_by_source
from scheduler.comparison.differences import differences, warnings
from scheduler.comparison.figures import (
    compared_rankings,
    default_ranking,
    figures_of_comparison,
)
from scheduler.comparison.sides import Side, parse_jobs, sides_of_jobs
from webui.context import database, redirect
from webui.figures.shown import show_of
from webui.kinds import attack
from webui.pages.jobs.many_jobs import ticked

OFFERED = 30
"""Jobs that a job's page offers to compare it with, of each kind."""

blueprint = Blueprint("comparison", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"comparable_jobs": comparable_jobs}


@blueprint.get("/compare")
def show() -> str:
    """Jobs side by side: ?jobs=5,42,43."""
    numbers = parse_jobs(",".join(request.args.getlist("jobs")))
    sides = sides_of_jobs(database(), numbers)
    given = ",".join(map(str, numbers))
    address = partial(url_for, "figure_api.get_compared_figure", jobs=given)
    return render_template("compare.html", findings={}, **sections(sides, address))


@blueprint.post("/compare")
def choose() -> Response:
    """Lead from the list of jobs to the comparison of those that were ticked."""
    chosen = ",".join(map(str, dict.fromkeys(ticked())))
    return redirect(url_for(".show", jobs=chosen))


def sections(sides: Sequence[Side], address: Callable[..., str]) -> dict[str, Any]:
    """Values of the page of a comparison; the query string has the choices of its figures.

    address: of the files of a figure

    Raises InputError for a value that cannot be chosen.
    """
    opened = database()
    figures = figures_of_comparison(sides)
    shown = {kind.name: show_of(figures, kind.name, address) for kind in figures.kinds}
    ranking = request.args.get("ranking", "") or default_ranking(sides)
    titles, pairs = agreements(opened, compared_rankings(sides, ranking))
    found = {frozenset((pair.one, pair.other)): pair.spearman for pair in pairs}
    return {
        "sides": sides,
        "warnings": warnings(sides),
        "differences": differences(sides),
        "figures": {name: figure for name, figure in shown.items() if figure},
        "qualities": [quality_of(opened, side) for side in sides],
        "ranked": titles,
        "agreement": lambda one, other: found.get(frozenset((one, other))),
        "correlations": agreements_by_source(opened, sides) if len(sides) == 2 else [],
        "strips": _strips(sides),
    }


def comparable_jobs(job: Job) -> list[Job]:
    """The newest finished jobs that a job can be compared with."""
    ranks = bool(SPECS[job.kind].ranking_sources)
    kinds = [name for name in NAMES if ranks and SPECS[name].ranking_sources] or [job.kind]
    found = [
        one
        for kind in kinds
        for one in job_list.list_jobs(
            database(), JobFilter(kind=kind, state="succeeded", quick=False), limit=OFFERED
        )
        if one.id != job.id
    ]
    return sorted(found, key=lambda one: -one.id)[:OFFERED]


def _strips(sides: Sequence[Side]) -> dict[tuple[str, str], list[Any]]:
    """The success of triggers by class and kind, of each side; where two or more have any."""
    found = [attack.strips_by_class(job) if (job := side.job("attack")) else {} for side in sides]
    if sum(map(bool, found)) < 2:
        return {}
    keys = dict.fromkeys(key for strips in found for key in strips)
    return {key: [strips.get(key) for strips in found] for key in keys}
