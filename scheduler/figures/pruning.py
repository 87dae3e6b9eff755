"""The figures of pruning jobs, and the curves that they and the tables show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.database import Database
from db.kinds import pruning
from db.kinds.pruning import MEASURES, Point
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Site
from headwise.figures import ORDERS, Figure, Measure, pruning_curves
from jobs.kinds import ranking_source
from jobs.kinds.pruning import RANDOM, PruningScope, PruningSpec
from jobs.specs.submission import parse_spec
from scheduler.figures.base import Choices, FigureKind, no_results, source

METRICS = {
    "accuracy": Measure(name="accuracy", title="Accuracy", share=True),
    "macro_f1": Measure(name="macro_f1", title="Macro F1", share=True),
    "loss": Measure(name="loss", title="Loss"),
}
"""The qualities of a model that curves show."""
SHARE = Measure(name="share", title="Heads removed", share=True)
PER_LAYER = Measure(name="per_layer", title="Heads removed per layer")
BOTH = "both"

Value = tuple[float | None, float | None, float | None]
"""A value and both ends of its interval or range."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A point of a curve, or the mean and range over random orders."""

    point: Point
    values: Mapping[str, Value]
    """By measure."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve: one source and direction, or all random orders together."""

    key: str
    source_no: int
    name: str
    direction: str
    rows: tuple[Row, ...]


def lines(job: Job, points: Iterable[Point], scope: PruningScope) -> list[Line]:
    """The curves of a scope that have results."""
    grouped: dict[str, list[Point]] = {}
    for point in points:
        if point.scope == scope and point.result is not None:
            grouped.setdefault(f"{point.source_no}.{point.direction}", []).append(point)
    return [
        Line(
            key=key,
            source_no=line[0].source_no,
            name=ranking_name(job, line[0]),
            direction=line[0].direction,
            rows=_range(line) if line[0].source == RANDOM else tuple(map(_row, line)),
        )
        for key, line in grouped.items()
    ]


def ranking_name(job: Job, point: Point) -> str:
    """The name of the ranking that a point removes heads by."""
    if point.source == RANDOM:
        return "Random"
    sources = job.spec["sources"]
    alone = sum(one["source"] == point.source for one in sources) == 1
    title = ranking_source(point.source).title
    return title if alone else f"{title}, job {sources[point.source_no]['job']}"


def per_layer(point: Point, sites: Sequence[Site]) -> int:
    """The number k of a point that removes k heads of each layer."""
    most = max(site.heads for site in sites)
    counts = (k for k in range(most + 1) if sum(min(k, s.heads) for s in sites) >= point.removed)
    return next(counts, most)


def reached(job: Job, sites: Sequence[Site]) -> list[Site]:
    """The sites that a pruning job may remove heads from."""
    spec = parse_spec(job.spec)
    assert isinstance(spec, PruningSpec)
    return [site for site in sites if spec.removes_from(site.attention_type, site.layer)]


def curve_rows(
    database: Database, job: Job, metric: str, scope: PruningScope = PruningScope.GLOBAL
) -> list[dict[str, Any]]:
    """The rows of a figure of a job's curves."""
    points, _ = pruning.get_points(database, job.id)
    sites = reached(job, results.list_sites(database, job.id))
    found = [(line, str(line.direction)) for line in lines(job, points, scope)]
    if scope is PruningScope.GLOBAL:
        found += [(line, "notebook") for line in lines(job, points, PruningScope.NOTEBOOK)]
    return [
        {
            "ranking": line.name,
            "direction": direction,
            "share": row.point.share,
            "removed": row.point.removed,
            **({"per_layer": per_layer(row.point, sites)} if scope is PruningScope.LAYER else {}),
            **dict(zip(_columns(metric), row.values[metric], strict=True)),
        }
        for line, direction in found
        for row in line.rows
    ]


def _columns(metric: str) -> tuple[str, str, str]:
    return metric, f"{metric}_low", f"{metric}_high"


def curve_choices(_database: Database, _subject: object) -> Choices:
    """The choices of a figure of curves."""
    orders = {key: ORDERS[key] for key in ("least", "most")}
    return {
        "metric": {name: measure.title for name, measure in METRICS.items()},
        "direction": {BOTH: "both orders", **orders},
    }


def _curve(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    return _drawn(database, job, chosen, PruningScope.GLOBAL)


def _layers(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    return _drawn(database, job, chosen, PruningScope.LAYER)


def _drawn(database: Database, job: Job, chosen: Mapping[str, str], scope: PruningScope) -> Figure:
    wanted = (chosen["direction"], "any", "notebook")
    rows = [
        row
        for row in curve_rows(database, job, chosen["metric"], scope)
        if chosen["direction"] == BOTH or row["direction"] in wanted
    ]
    if not rows:
        raise no_results(job)
    removed = PER_LAYER if scope is PruningScope.LAYER else SHARE
    origin = source(job, job.examples_ok, provisional=not job.final)
    return pruning_curves(rows, METRICS[chosen["metric"]], removed, [origin])


def _row(point: Point) -> Row:
    found = vars(point.result)
    return Row(
        point=point,
        values={
            name: (found[name], found[f"{name}_low"], found[f"{name}_high"]) for name in MEASURES
        },
    )


def _range(line: Sequence[Point]) -> tuple[Row, ...]:
    """Mean, smallest and largest value over the draws, point by point."""
    draws: dict[int, list[Point]] = {}
    for point in line:
        draws.setdefault(point.draw, []).append(point)
    rows = []
    for together in zip(*draws.values(), strict=True):
        values: dict[str, Value] = {}
        for name in MEASURES:
            drawn = [value for p in together if (value := getattr(p.result, name)) is not None]
            values[name] = (
                (sum(drawn) / len(drawn), min(drawn), max(drawn)) if drawn else (None, None, None)
            )
        rows.append(Row(point=together[0], values=values))
    return tuple(rows)


FIGURES = (
    FigureKind(name="curve", title="Curve", draw=_curve, choices=curve_choices),
    FigureKind(
        name="layers", title="The same number in each layer", draw=_layers, choices=curve_choices
    ),
)
