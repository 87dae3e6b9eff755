"""The figures of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from db.database import Database
from db.reads import results
from db.reads.jobs import Job
from db.results import rankings
from db.results.rankings import Ranked
from headwise.figures import (
    Figure,
    Measure,
    Source,
    bump,
    completeness,
    curves_of_jobs,
    heat_map,
    qualities,
    triggers_of_jobs,
)
from jobs.errors import NotFoundError
from jobs.kinds import SPECS, ranking_source
from scheduler.comparison.accuracy import accuracy_of
from scheduler.comparison.sides import Side
from scheduler.figures.attack import attacked_labels, trigger_rows
from scheduler.figures.attribution import completeness_rows
from scheduler.figures.base import Choices, FigureKind, Figures, source
from scheduler.figures.pruning import BOTH, METRICS, SHARE, curve_choices, curve_rows
from scheduler.figures.rankings import rank_rows, ranking_title, scatter_of

Sides = Sequence[Side]
FIRST = "first"
"""The choice of the first ranking of each side."""


def figures_of_comparison(sides: Sides) -> Figures[Sides]:
    """The figures that the sides have together."""
    plural, numbers = sides[0].nouns, [str(side.number) for side in sides]
    return Figures(
        subject=sides,
        title=f"The comparison of {plural} {', '.join(numbers)}",
        file_name=f"{plural}-{'-'.join(numbers)}",
        kinds=tuple(kind for kind, fits in COMPARISON if sum(map(fits, sides)) > 1),
    )


def shared(sides: Sides) -> dict[str, str]:
    """The sources that at least two sides rank heads by, those of most first, with their titles."""
    counts = Counter(name for side in sides for name in dict.fromkeys(n for n, _ in side.rankings))
    found = [name for name, count in counts.most_common() if count > 1]
    return {name: ranking_source(name).title for name in found}


def compared_rankings(sides: Sides, chosen: str) -> list[tuple[Side, str, Job]]:
    """The ranking of each side by the chosen source; with FIRST the first one that it has."""
    found = []
    for side in sides:
        job = side.ranks_by(chosen)
        if job:
            found.append((side, chosen, job))
        elif chosen == FIRST and side.rankings:
            found.append((side, *side.rankings[0]))
    return found


def _nothing(sides: Sides, what: str) -> NotFoundError:
    names = " and ".join(f"{side.noun} {side.number}" for side in sides)
    return NotFoundError(f"Of {names}, fewer than two have {what}.")


def _origin(jobs: Sequence[Job]) -> list[Source]:
    unique = {job.id: job for job in jobs}.values()
    return [source(job, job.examples_ok, provisional=not job.final) for job in unique]


def _sources(_database: Database, sides: Sides) -> Choices:
    return {"source": shared(sides)}


def _head_rows(database: Database, side: Side, job: Job, name: str) -> list[dict[str, Any]]:
    """The importance of every head by a source, with its intervals, as rows of a heat map."""
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    found, _ = rankings.get_rankings(database, job.id)
    return [
        {
            "panel": side.name,
            "attention_type": sites[head.site].attention_type,
            "layer": sites[head.site].layer,
            "head": head.head,
            "importance": head.mean,
            **dict(zip(("importance_low", "importance_high"), head.interval, strict=True)),
            **{name: getattr(head, name) for name in ("rank", "rank_low", "rank_high")},
        }
        for head in found
        if head.source == name and head.site in sites
    ]


def _maps(
    database: Database, sides: Sides, chosen: Mapping[str, str]
) -> tuple[list[list[dict[str, Any]]], list[Job]]:
    """The rows of the heat map of each side that ranks heads by the chosen source, and the jobs."""
    found = [
        (rows, job)
        for side, name, job in compared_rankings(sides, chosen["source"])
        if (rows := _head_rows(database, side, job, name))
    ]
    if len(found) < 2:
        raise _nothing(sides, "a ranking of heads by the same source")
    return [rows for rows, _ in found], [job for _, job in found]


def _heads(database: Database, sides: Sides, chosen: Mapping[str, str]) -> Figure:
    maps, jobs = _maps(database, sides, chosen)
    named = ranking_source(chosen["source"])
    measure = Measure(name="importance", title=named.title, meaning=named.meaning)
    return heat_map([row for rows in maps for row in rows], measure, _origin(jobs))


def _difference(database: Database, sides: Sides, chosen: Mapping[str, str]) -> Figure:
    (first, *others), jobs = _maps(database, sides, chosen)
    place = ("attention_type", "layer", "head")
    base = {tuple(row[key] for key in place): row["importance"] for row in first}
    name = first[0]["panel"]
    rows = [
        {key: row[key] for key in place}
        | {"panel": f"{row['panel']} − {name}", "difference": row["importance"] - base[where]}
        for row in (row for rows in others for row in rows)
        if (where := tuple(row[key] for key in place)) in base
    ]
    title = ranking_source(chosen["source"]).title
    measure = Measure(
        name="difference",
        title=f"Difference of {title}",
        meaning=f"importance less that of {name}; orange where it is larger",
    )
    return heat_map(rows, measure, _origin(jobs))


def _rank_choices(sides: Sides) -> Choices:
    common = shared(sides)
    every = [name for name in common if all(side.ranks_by(name) for side in sides)]
    rest = {FIRST: "The first of each"}
    return {"ranking": (common | rest) if every else (rest | common)}


def default_ranking(sides: Sides) -> str:
    """The choice of rankings that is shown where none is made."""
    return next(iter(_rank_choices(sides)["ranking"]))


def _ranks(database: Database, sides: Sides, chosen: Mapping[str, str]) -> Figure:
    found = compared_rankings(sides, chosen["ranking"])
    return bump_of(database, sides, [(name, job, f", {side.name}") for side, name, job in found])


def bump_of(database: Database, sides: Sides, ranked: Sequence[tuple[str, Job, str]]) -> Figure:
    """The ranks by the sources of several jobs, each with a suffix of its name.

    Raises NotFoundError for fewer than two.
    """
    rows = [row for name, job, suffix in ranked for row in rank_rows(database, job, [name], suffix)]
    if len({row["ranking"] for row in rows}) < 2:
        raise _nothing(sides, "a ranking of heads")
    return bump(rows, _origin([job for _, job, _ in ranked]))


def _axes(_database: Database, sides: Sides) -> Choices:
    """The finished rankings, of which a scatter plot has two; by default one that sides share."""
    ranked = [side for side in sides if any(job.final for _, job in side.rankings)]
    known = {
        f"{job.id}.{name}": (name, ranking_title(_ranked(job, name)))
        for side in ranked
        for name, job in side.rankings
        if job.final and len(ranked) > 1
    }
    titles = {key: title for key, (_, title) in known.items()}
    common = next(iter(shared(sides)), "")
    keys = sorted(known, key=lambda key: known[key][0] != common)
    others = sorted(titles, key=lambda key: (key in keys[:1], known[key][0] != common))
    return {"x": {key: titles[key] for key in keys}, "y": {key: titles[key] for key in others}}


def _ranked(job: Job, name: str) -> Ranked:
    return Ranked(job_id=job.id, name=job.name, kind=job.kind, source=name)


def _scatter(database: Database, sides: Sides, chosen: Mapping[str, str]) -> Figure:
    jobs = {job.id: job for side in sides for job in side.jobs}
    keys = [chosen[axis].partition(".") for axis in ("x", "y")]
    if not all(number for number, _, _ in keys):
        raise _nothing(sides, "a finished ranking of heads")
    x, y = (_ranked(jobs[int(number)], name) for number, _, name in keys)
    shapes = [rankings.get_means(database, one.job_id, one.source).shape for one in (x, y)]
    if shapes[0] != shapes[1]:
        raise NotFoundError(
            f"The models of job {x.job_id} and job {y.job_id} have different layers or heads."
        )
    return scatter_of(database, x, y)


def _curve(database: Database, sides: Sides, chosen: Mapping[str, str]) -> Figure:
    found = [(side, job) for side in sides if (job := side.job("pruning"))]
    orders = ("least", "most") if chosen["direction"] == BOTH else (chosen["direction"],)
    wanted = (*orders, "any")
    rows = [
        {**row, "job": side.name}
        for side, job in found
        for row in curve_rows(database, job, chosen["metric"])
        if row["direction"] in wanted
    ]
    if len({row["job"] for row in rows}) < 2:
        raise _nothing(sides, "pruning curves")
    measure = METRICS[chosen["metric"]]
    return curves_of_jobs(rows, measure, SHARE, _origin([job for _, job in found]))


def _accuracy(database: Database, sides: Sides, _chosen: Mapping[str, str]) -> Figure:
    found = [
        (side, one) for side in sides for one in [accuracy_of(database, side)] if one is not None
    ]
    if len(found) < 2:
        raise _nothing(sides, "examples with labels")
    rows = [
        {
            "job": side.name,
            "accuracy": one.value,
            "accuracy_low": one.low,
            "accuracy_high": one.high,
            "n": one.n,
        }
        for side, one in found
    ]
    return qualities(rows, METRICS["accuracy"], _origin([one.job for _, one in found]))


def _completeness(database: Database, sides: Sides, _chosen: Mapping[str, str]) -> Figure:
    found = [
        (job, [{**row, "panel": side.name} for row in completeness_rows(database, job)])
        for side in sides
        if (job := side.job("attribution"))
    ]
    if sum(bool(rows) for _, rows in found) < 2:
        raise _nothing(sides, "residuals of completeness")
    rows = [row for _, rows in found for row in rows]
    return completeness(rows, _origin([job for job, _ in found]))


def _labels(database: Database, sides: Sides) -> Choices:
    """The classes that triggers were tried on, those of most sides first."""
    counts = Counter(
        label for side, job in _attacks(sides) for label in attacked_labels(database, job)
    )
    return {"label": {label: label for label, _ in counts.most_common()}}


def _attacks(sides: Sides) -> list[tuple[Side, Job]]:
    return [(side, job) for side in sides if (job := side.job("attack"))]


def _triggers(database: Database, sides: Sides, chosen: Mapping[str, str]) -> Figure:
    """The triggers of every side against a class, on its own model."""
    rows, jobs = [], []
    for side, job in _attacks(sides):
        gold = attacked_labels(database, job).get(chosen["label"])
        if gold is not None:
            jobs.append(job)
            found = trigger_rows(database, job, gold, 0)
            rows += [{**row, "job": side.name} for row in found if row["success"] is not None]
    if len({row["job"] for row in rows}) < 2:
        raise _nothing(sides, "triggers against the same class")
    return triggers_of_jobs(rows, chosen["label"], _origin(jobs))


def _ranks_heads(side: Side) -> bool:
    return any(SPECS[job.kind].ranking_sources for job in side.steps.values())


def _has(kind: str) -> Callable[[Side], bool]:
    return lambda side: any(job.kind == kind for job in side.steps.values())


COMPARISON: tuple[tuple[FigureKind[Sides], Callable[[Side], bool]], ...] = (
    (
        FigureKind(name="heads", title="Heads on one scale", draw=_heads, choices=_sources),
        _ranks_heads,
    ),
    (
        FigureKind(name="difference", title="Differences", draw=_difference, choices=_sources),
        _ranks_heads,
    ),
    (
        FigureKind(
            name="ranks",
            title="Ranks",
            draw=_ranks,
            choices=lambda _database, sides: _rank_choices(sides),
        ),
        _ranks_heads,
    ),
    (FigureKind(name="scatter", title="Two rankings", draw=_scatter, choices=_axes), _ranks_heads),
    (
        FigureKind(name="curve", title="Curves", draw=_curve, choices=curve_choices),
        _has("pruning"),
    ),
    (
        FigureKind(name="triggers", title="Triggers", draw=_triggers, choices=_labels),
        _has("attack"),
    ),
    (FigureKind(name="accuracy", title="Accuracy", draw=_accuracy), lambda _side: True),
    (
        FigureKind(name="completeness", title="Completeness", draw=_completeness),
        _has("attribution"),
    ),
)
"""The figures of a comparison, and the sides that they are about."""
