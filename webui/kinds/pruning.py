"""Pruning jobs: their form, their section of a job's page, and their part of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flask import Blueprint

from db.kinds import pruning
from db.kinds.pruning import Choice, Point
from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Site
from db.results import rankings
from db.results.rankings import Ranked
from headwise.figures import ORDERS
from headwise.naming import head_name
from headwise.stats.curve import notebook_levels
from jobs.errors import NotFoundError, refuse
from jobs.kinds import ranking_source
from jobs.kinds.pruning import PruningScope, PruningSource
from jobs.specs.fields import fields_of, from_text
from jobs.specs.submission import parse_spec
from scheduler.figures import pruning as curves
from scheduler.serializers import job_title
from webui.accounts.permissions import READS
from webui.api.models.kinds import MaskAnswer, PruningAnswer
from webui.context import choice, database, optional_integer
from webui.contract.operations import operation
from webui.figures.shown import show
from webui.forms.controls import Controls
from webui.heads import site_name
from webui.kinds.base import KindPage

INHERITED = ("model", "max_length", "dtype", "device")
"""Fields that a pruning job takes over from the job that ranked the heads."""

blueprint = Blueprint("pruning", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"ranked_jobs": _ranked_jobs}


@blueprint.get("/api/v1/jobs/<int(max=2147483647):job_id>/pruning")
@operation("Results", PruningAnswer)
def get_pruning(job_id: int) -> PruningAnswer:
    """Get the curves of a pruning job, and its choice."""
    job = job_reads.get_job(database(), job_id)
    if job.kind != "pruning":
        raise refuse("job", job_id, f"is a job of kind {job.kind}", "Give a pruning job.")
    points, provisional = pruning.get_points(database(), job_id)
    return PruningAnswer(
        points=points, choice=pruning.get_choice(database(), job_id), provisional=provisional
    )


@blueprint.get(
    "/api/v1/jobs/<int(max=2147483647):job_id>/pruning/masks/<int(max=2147483647):mask_no>"
)
@operation("Results", MaskAnswer)
def get_mask(job_id: int, mask_no: int) -> MaskAnswer:
    """Get the heads that a mask of a pruning job removes."""
    job_reads.get_job(database(), job_id)
    removed = pruning.get_removed(database(), job_id, mask_no)
    return MaskAnswer(removed=[(site, head) for site, head in removed])


def started_from(job: Job) -> dict[str, Any]:
    """A raw submission that prunes by every ranking of a job, on all rows of its data.

    Raises InputError where the job does not rank heads.
    """
    offers = parse_spec(job.spec).offers
    if not offers:
        raise refuse("from", job.id, f"is a job of kind {job.kind}", "Give one that ranks heads.")
    data = {key: value for key, value in job.spec["data"].items() if key not in ("limit", "sample")}
    spec = {key: job.spec[key] for key in INHERITED if key in job.spec}
    sources = [{"job": job.id, "source": source} for source in offers]
    return {"spec": {"kind": "pruning", **spec, "data": data, "sources": sources}}


def section(job: Job) -> dict[str, Any]:
    """Values of a pruning job's section; ?line= chooses the table, ?point= the mask."""
    points, provisional = pruning.get_points(database(), job.id)
    sites = results.list_sites(database(), job.id)
    reached = curves.reached(job, sites)
    if not any(point.result for point in points):
        return {"sites": []}
    found_lines = curves.lines(job, points, PruningScope.GLOBAL)
    keys = [line.key for line in found_lines]
    shown = found_lines[keys.index(choice("line", keys, keys[0]))]
    found = pruning.get_choice(database(), job.id)
    by_number = {point.point_no: point for point in points}
    number = optional_integer("point")
    if number is None:
        number = _first_shown(points, found)
    if number not in by_number:
        raise refuse("point", number, "is not a point of this job", f"From 0 to {len(points) - 1}.")
    mask = _mask(job, by_number[number], sites, reached)
    return {
        "sites": sites,
        "provisional": provisional,
        "lines": found_lines,
        "line": shown,
        "layer_lines": curves.lines(job, points, PruningScope.LAYER),
        "preset_lines": curves.lines(job, points, PruningScope.NOTEBOOK),
        "directions": ORDERS,
        "draws": job.spec["random"],
        "choice": found,
        "whole": next((p.result for p in points if p.removed == 0), None),
        "curve_figure": show(job, "curve"),
        "layers_figure": show(job, "layers"),
        "per_layer": lambda point: curves.per_layer(point, reached),
        "chosen_point": by_number[number],
        "chosen_name": curves.ranking_name(job, by_number[number]),
        "mask": mask,
        "leveled": any(head.level is not None for _, heads in mask for head in heads),
        "removed_names": [h.name for _, heads in mask for h in heads if not h.stays],
        "total_heads": sum(site.heads for site in sites),
        "reached_heads": sum(site.heads for site in reached),
    }


def _ranked_jobs(model: str = "") -> list[dict[str, Any]]:
    """The finished jobs on a model whose rankings a new pruning job can use, newest first.

    model: its name; empty for jobs on any model
    """
    by_job: dict[int, list[Ranked]] = {}
    for one in pruning.list_sources(database()):
        by_job.setdefault(one.job_id, []).append(one)
    found = []
    # Jobs that were deleted meanwhile are left out.
    for job in job_reads.get_jobs(database(), list(by_job)):
        if model and job.spec["model"]["name"].rstrip("/") != model.rstrip("/"):
            continue
        names = [(one.source, ranking_source(one.source).title) for one in by_job[job.id]]
        found.append({"job": job, "title": job_title(job), "sources": names})
    return found


def _first_shown(points: Sequence[Point], found: Choice | None) -> int:
    """The chosen mask's point, or the notebook's, or the middle of the first curve."""
    chosen = [
        p
        for p in points
        if found and p.scope == PruningScope.CHOICE and p.mask_no == found.chosen_mask
    ]
    preset = [p for p in points if p.scope == PruningScope.NOTEBOOK]
    first = [
        p for p in points if p.scope == PruningScope.GLOBAL and p.source_no == points[0].source_no
    ]
    return (chosen or preset or [min(first, key=lambda p: abs(p.share - 0.5))])[0].point_no


@dataclass(frozen=True, kw_only=True)
class MaskHead:
    """A head in the picture of a mask."""

    name: str
    stays: bool
    level: int | None
    """Its importance from 0 to 255, where the notebook's rule made the mask."""


def _mask(
    job: Job, point: Point, sites: Sequence[Site], reached: Sequence[Site]
) -> list[tuple[str, list[MaskHead]]]:
    """The name of every site, and its heads."""
    removed = {tuple(place) for place in pruning.get_removed(database(), job.id, point.mask_no)}
    levels = _levels(job, point, reached) if point.scope == PruningScope.NOTEBOOK else {}
    return [
        (
            site_name(site),
            [
                MaskHead(
                    name=head_name(site.layer, head, site.attention_type),
                    stays=(site.site, head) not in removed,
                    level=levels.get((site.site, head)),
                )
                for head in range(site.heads)
            ],
        )
        for site in sites
    ]


def _levels(job: Job, point: Point, reached: Sequence[Site]) -> dict[tuple[int, int], int]:
    """The levels that the notebook's rule compared, by site and head.

    Empty once the job that ranked the heads is deleted.
    """
    parent = job.spec["sources"][point.source_no]["job"]
    try:
        mean = rankings.get_means(database(), parent, point.source)
    except NotFoundError:
        return {}
    numbers = [site.site for site in reached]
    levels = notebook_levels(mean[numbers])
    return {
        (numbers[row], int(head)): int(levels[row, head]) for row, head in np.argwhere(levels >= 0)
    }


def _read_sources(values: Mapping[str, str]) -> list[dict[str, Any]]:
    chosen = [name.split(".", 2) for name, value in values.items() if value and name[:3] == "by."]
    job = fields_of(PruningSource)["job"]
    return [{"job": from_text(job, part[1]), "source": part[-1]} for part in chosen]


def _show_sources(sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {f"by.{one['job']}.{one.get('source', 'attattr')}": "on" for one in sources or ()}


PAGE = KindPage(
    title="Pruning",
    lead="How much accuracy the model keeps as heads are removed in order of importance, and "
    "which heads can be removed.",
    labels={
        "sources": "Order of the heads",
        "random": "Random orders",
        "seed": "Seed of the random orders",
        "steps": "Steps",
        "shares": "or shares",
        "directions": "First to go",
        "within_layer": "Within each layer",
        "attention_types": "Only attention of type",
        "layers": "Only in layers",
        "preset": "Preset",
        "within": "Points of accuracy",
        "allow_overlap": "Also evaluate on examples that the heads were ranked with",
    },
    section=section,
    anchors=("curve", "mask"),
    exports=("pruning_points", "pruning_choices", "examples", "shards", "attempts"),
    question="SELECT source, direction, removed, accuracy, accuracy_low, accuracy_high\n"
    "FROM pruning_points\nWHERE job_id = %d AND scope = 'global'\nORDER BY point",
    own_names=("by.",),
    controls={"sources": Controls(read=_read_sources, show=_show_sources)},
    blueprint=blueprint,
    rules={"pruning.get_pruning": READS, "pruning.get_mask": READS},
)
