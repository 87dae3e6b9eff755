"""Pruning jobs: their form, their section of a job's page, and their part of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify

from db.kinds import pruning
from db.kinds.pruning import MEASURES, Choice, Point
from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Site
from db.results import rankings
from headwise.stats.curve import notebook_levels
from jobs.errors import NotFoundError, refuse
from jobs.formatting import head_name
from jobs.kinds import ranking_source
from jobs.kinds.pruning import RANDOM, Direction, PruningSpec, Scope
from jobs.specs.submission import parse_spec
from scheduler.serializers import job_title
from webui.context import choice, database, optional_integer
from webui.forms import Controls
from webui.heads import site_name
from webui.kinds.base import KindPage

MEASURE_TITLES = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "loss": "Loss"}
DIRECTIONS = {
    Direction.LEAST: "least important first",
    Direction.MOST: "most important first",
    Direction.ANY: "in random order",
}
INHERITED = ("model", "max_length", "dtype", "device")
"""Fields that a pruning job takes over from the job that ranked the heads."""

blueprint = Blueprint("pruning", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"ranked_jobs": _ranked_jobs}


@blueprint.get("/api/v1/jobs/<int(max=2147483647):job_id>/pruning")
def get_pruning(job_id: int) -> Response:
    """Return the curves of a pruning job, and its choice; provisional while shards are missing."""
    job = job_reads.get_job(database(), job_id)
    if job.kind != "pruning":
        raise refuse("job", job_id, f"is a job of kind {job.kind}", "Give a pruning job.")
    points, provisional = pruning.get_points(database(), job_id)
    found = pruning.get_choice(database(), job_id)
    body = {
        "points": [asdict(point) for point in points],
        "choice": found and asdict(found),
        "provisional": provisional,
    }
    return jsonify(body)


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


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table: a point of a curve, or the mean and range over random orders."""

    point: Point
    values: Mapping[str, tuple[float | None, float | None, float | None]]
    """By measure: the value and both ends of its interval or range."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve: one source and direction, or all random orders together."""

    key: str
    source_no: int
    name: str
    direction: str
    rows: tuple[Row, ...]


def section(job: Job) -> dict[str, Any]:
    """Values of a pruning job's section; ?line= chooses the table, ?point= the mask."""
    points, provisional = pruning.get_points(database(), job.id)
    sites = results.list_sites(database(), job.id)
    spec = parse_spec(job.spec)
    assert isinstance(spec, PruningSpec)
    reached = [site for site in sites if spec.removes_from(site.attention_type, site.layer)]
    if not any(point.result for point in points):
        return {"sites": []}
    curves, within = _lines(job, points, Scope.GLOBAL), _lines(job, points, Scope.LAYER)
    presets = _lines(job, points, Scope.NOTEBOOK)
    keys = [line.key for line in curves]
    shown = curves[keys.index(choice("line", keys, keys[0]))]
    found = pruning.get_choice(database(), job.id)
    by_number = {point.point_no: point for point in points}
    number = optional_integer("point")
    if number is None:
        number = _first_shown(points, found)
    if number not in by_number:
        raise refuse("point", number, "is no point of this job", f"From 0 to {len(points) - 1}.")
    mask = _mask(job, by_number[number], sites, reached)
    return {
        "sites": sites,
        "provisional": provisional,
        "lines": curves,
        "line": shown,
        "layer_lines": within,
        "preset_lines": presets,
        "directions": DIRECTIONS,
        "draws": job.spec["random"],
        "choice": found,
        "whole": next((p.result for p in points if p.removed == 0), None),
        "chart": _chart(
            [*curves, *presets], lambda point: 100 * point.share, "heads removed, %", 10
        ),
        "layer_chart": _chart(
            within, lambda point: _per_layer(point, reached), "heads removed per layer", 1
        ),
        "per_layer": lambda point: _per_layer(point, reached),
        "chosen_point": by_number[number],
        "chosen_name": _name(job, by_number[number]),
        "mask": mask,
        "leveled": any(head.level is not None for _, heads in mask for head in heads),
        "removed_names": [h.name for _, heads in mask for h in heads if not h.stays],
        "total_heads": sum(site.heads for site in sites),
        "reached_heads": sum(site.heads for site in reached),
    }


def _ranked_jobs() -> list[dict[str, Any]]:
    """The finished jobs whose rankings a new pruning job can use, newest first."""
    found = []
    for job_id, sources in groupby(pruning.list_sources(database()), key=lambda one: one.job_id):
        job = job_reads.get_job(database(), job_id)
        names = [(one.source, ranking_source(one.source).title) for one in sources]
        found.append({"job": job, "title": job_title(job), "sources": names})
    return found


def _first_shown(points: Sequence[Point], found: Choice | None) -> int:
    """The chosen mask's point, or the notebook's, or the middle of the first curve."""
    chosen = [
        p for p in points if found and p.scope == Scope.CHOICE and p.mask_no == found.chosen_mask
    ]
    preset = [p for p in points if p.scope == Scope.NOTEBOOK]
    first = [p for p in points if p.scope == Scope.GLOBAL and p.source_no == points[0].source_no]
    return (chosen or preset or [min(first, key=lambda p: abs(p.share - 0.5))])[0].point_no


def _name(job: Job, point: Point) -> str:
    if point.source == RANDOM:
        return "Random"
    sources = job.spec["sources"]
    alone = sum(one["source"] == point.source for one in sources) == 1
    title = ranking_source(point.source).title
    return title if alone else f"{title}, job {sources[point.source_no]['job']}"


def _lines(job: Job, points: Iterable[Point], scope: Scope) -> list[Line]:
    grouped: dict[str, list[Point]] = {}
    for point in points:
        if point.scope == scope and point.result is not None:
            grouped.setdefault(f"{point.source_no}.{point.direction}", []).append(point)
    return [
        Line(
            key=key,
            source_no=line[0].source_no,
            name=_name(job, line[0]),
            direction=line[0].direction,
            rows=_range(line) if line[0].source == RANDOM else tuple(map(_row, line)),
        )
        for key, line in grouped.items()
    ]


def _row(point: Point) -> Row:
    found = vars(point.result)
    return Row(
        point=point,
        values={
            name: (found[name], found[f"{name}_low"], found[f"{name}_high"])
            for name in MEASURE_TITLES
        },
    )


def _range(line: Sequence[Point]) -> tuple[Row, ...]:
    """Mean, smallest and largest value over the draws, point by point."""
    draws: dict[int, list[Point]] = {}
    for point in line:
        draws.setdefault(point.draw, []).append(point)
    rows = []
    for together in zip(*draws.values(), strict=True):
        values: dict[str, tuple[float | None, float | None, float | None]] = {}
        for name in MEASURES:
            drawn = [value for p in together if (value := getattr(p.result, name)) is not None]
            values[name] = (
                (sum(drawn) / len(drawn), min(drawn), max(drawn)) if drawn else (None, None, None)
            )
        rows.append(Row(point=together[0], values=values))
    return tuple(rows)


def _chart(
    lines: Sequence[Line], place: Callable[[Point], float], title: str, step: int
) -> dict[str, Any]:
    """Numbers of a chart of curves: the value and both ends, by measure and point."""
    return {
        "x_title": title,
        "dtick": step,
        "measures": MEASURE_TITLES,
        "lines": [
            {
                "name": line.name,
                "source": line.source_no,
                "direction": line.direction,
                "single": line.rows[0].point.scope == Scope.NOTEBOOK,
                "x": [place(row.point) for row in line.rows],
                "removed": [row.point.removed for row in line.rows],
                "values": {
                    name: [[row.values[name][end] for row in line.rows] for end in range(3)]
                    for name in MEASURE_TITLES
                },
            }
            for line in lines
        ],
    }


def _per_layer(point: Point, sites: Sequence[Site]) -> int:
    """The number k of a point that removes k heads of each layer."""
    most = max(site.heads for site in sites)
    counts = (k for k in range(most + 1) if sum(min(k, s.heads) for s in sites) >= point.removed)
    return next(counts, most)


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
    levels = _levels(job, point, reached) if point.scope == Scope.NOTEBOOK else {}
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


def _read_sources(values: Mapping[str, str]) -> list[dict[str, str]]:
    chosen = [name.split(".", 2) for name, value in values.items() if value and name[:3] == "by."]
    return [{"job": part[1], "source": part[-1]} for part in chosen]


def _show_sources(sources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {f"by.{one['job']}.{one.get('source', 'attattr')}": "on" for one in sources or ()}


PAGE = KindPage(
    title="Pruning",
    lead="What the model keeps of its accuracy as heads are removed in the order of their "
    "importance, and which can go.",
    section=section,
    anchors=("curve", "mask"),
    exports=("pruning_points", "pruning_choices", "examples", "shards", "attempts"),
    question="SELECT source, direction, removed, accuracy, accuracy_low, accuracy_high\n"
    "FROM pruning_points\nWHERE job_id = %d AND scope = 'global'\nORDER BY point",
    controls={"sources": Controls(read=_read_sources, show=_show_sources)},
    blueprint=blueprint,
)
