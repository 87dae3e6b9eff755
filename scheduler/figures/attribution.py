"""The figures of attribution jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from db.database import Database
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Example
from db.results import matrices
from db.results.matrices import Asked
from headwise.figures import (
    Figure,
    Measure,
    VegaFigure,
    completeness,
    head_matrix,
    heat_map,
    histogram,
)
from headwise.naming import head_name, site_label
from jobs.errors import NotFoundError, nearest, refuse
from jobs.results.base import Floats
from scheduler.figures.base import Choices, FigureKind, no_results, source
from scheduler.figures.rankings import CORRELATION, RANKS

BINS = 40
MORE_MATRICES = "`headwise matrix`, the head's page, and POST to its address in the API compute it."
LISTED = 50
"""Matrices whose examples and heads are offered; any other can be named."""
MEASURES = {
    "mean": ("Attribution score", "mean over examples of the head's largest cell"),
    "mean_total": ("Total", "mean of the sum over the head's cells, with sign"),
    "mean_absolute_total": ("Absolute total", "mean of |sum over the head's cells|"),
    "mean_attention_max": ("Attention, max", "mean of the largest attention probability"),
    "mean_attention_mean": ("Attention, mean", "mean of the rows' largest attention probability"),
}
"""Title and meaning of each measure of a head."""


def _measures(_database: Database, _job: Job) -> Choices:
    return {"measure": {name: title for name, (title, _) in MEASURES.items()}}


def _heads(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    name = chosen["measure"]
    found = results.get_importance(database, job.id)
    if not found.heads:
        raise no_results(job)
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    rows = [
        {
            "attention_type": sites[head.site].attention_type,
            "layer": sites[head.site].layer,
            "head": head.head,
            name: getattr(head, name),
            "rank": head.rank,
            **({"mean_low": head.low, "mean_high": head.high} if name == "mean" else {}),
        }
        for head in found.heads
        if head.site in sites
    ]
    title, meaning = MEASURES[name]
    unit = "probability" if name.startswith("mean_attention") else _unit(job)
    measure = Measure(name=name, title=title, meaning=meaning, unit=unit)
    examples = max(head.n for head in found.heads)
    return heat_map(rows, measure, [source(job, examples, provisional=found.provisional)])


def completeness_rows(database: Database, job: Job) -> list[dict[str, Any]]:
    """The rows of a figure of completeness, and `n`, the number of examples."""
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    return [
        {
            "site": site_label(sites[one.site].layer, sites[one.site].attention_type),
            **{name: getattr(one, name) for name in ("median", "p95", "worst", "points", "n")},
        }
        for one in results.get_completeness(database, job.id, job.examples)
        if one.site in sites
    ]


def _completeness(database: Database, job: Job, _chosen: Mapping[str, str]) -> Figure:
    rows = completeness_rows(database, job)
    if not rows:
        raise no_results(job)
    return completeness(rows, [source(job, rows[0]["n"], provisional=not job.final)])


def _places(database: Database, job: Job) -> Choices:
    sites = results.list_sites(database, job.id)
    types = dict.fromkeys(site.attention_type for site in sites)
    layers = dict.fromkeys(str(site.layer) for site in sites)
    heads = map(str, range(max((site.heads for site in sites), default=0)))
    found = {"layer": layers, "head": heads, "attention_type": types}
    return {name: {value: value for value in values} for name, values in found.items()}


def _scores(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    place = (int(chosen["layer"] or 0), int(chosen["head"] or 0), chosen["attention_type"])
    sites = results.list_sites(database, job.id)
    layer, head, attention_type = place
    found = [s for s in sites if (s.layer, s.attention_type) == (layer, attention_type)]
    if not found or head >= found[0].heads:
        raise NotFoundError(f"Job {job.id} has no results for head {head_name(*place)}.")
    scores = results.head_scores(database, job.id, found[0].site, head, job.examples)
    if not scores:
        raise no_results(job)
    title = f"Distribution of the score of {head_name(*place)}"
    measure = Measure(name="score", title="Score", unit=_unit(job))
    return histogram(
        bins(scores), measure, title, [source(job, len(scores), provisional=not job.final)]
    )


def bins(scores: Sequence[float]) -> list[dict[str, Any]]:
    """Counts in BINS equal bins."""
    low, high = min(scores), max(scores)
    width = (high - low) / BINS or 1.0
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int((score - low) / width))] += 1
    return [
        {"low": low + i * width, "high": low + (i + 1) * width, "count": count}
        for i, count in enumerate(counts)
    ]


def _matrices(database: Database, job: Job) -> Choices:
    stored = matrices.list_stored(database, job.id, limit=LISTED)
    examples = dict.fromkeys(str(one.example) for one in stored)
    heads = dict.fromkeys(one.name for one in stored)
    found = {"example": examples, "head": heads}
    return {name: {value: value for value in values} for name, values in found.items()}


def _matrix(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    places = {
        head_name(site.layer, head, site.attention_type): (site.site, head)
        for site in results.list_sites(database, job.id)
        for head in range(site.heads)
    }
    name, number = chosen["head"], chosen["example"]
    if not (name and number):
        raise NotFoundError(_not_stored(database, job))
    if name not in places:
        raise refuse("head", name, "is not a head of the model", nearest(name, places))
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise refuse("example", number, "is not a number", "Give the number of an example.")
    site, head = places[name]
    asked = Asked(job_id=job.id, example=int(number), site=site, head=head)
    found = matrices.read_matrix(database, asked)
    if found is None or found.attention is None or found.attribution is None:
        raise NotFoundError(_not_stored(database, job))
    example = results.get_example(database, job.id, int(number))
    return matrix_figure(job, example, name, found.attention, found.attribution)


def _not_stored(database: Database, job: Job) -> str:
    stored = matrices.list_stored(database, job.id, limit=5)
    some = ", ".join(f"{one.name} on example {one.example}" for one in stored)
    message = f"Job {job.id} does not have this matrix. {MORE_MATRICES}"
    return f"{message} Stored: {some}." if some else message


def matrix_figure(
    job: Job, example: Example, name: str, attention: Floats, attribution: Floats
) -> VegaFigure:
    """Draw the matrices of a head, [n, n] each, on an example."""
    return head_matrix(
        attention.tolist(),
        attribution.tolist(),
        example.named_tokens(len(attention)),
        f"{name} on example {example.example}",
        [source(job, None)],
        unit=_unit(job),
    )


def _unit(job: Job) -> str:
    """The unit of attributions: that of the output they explain."""
    return str(job.spec.get("output", ""))


FIGURES = (
    FigureKind(name="heads", title="Heads", draw=_heads, choices=_measures),
    FigureKind(name="completeness", title="Completeness", draw=_completeness),
    FigureKind(name="scores", title="Scores of a head", draw=_scores, choices=_places),
    RANKS,
    CORRELATION,
    FigureKind(
        name="matrix",
        title="Matrix of a head",
        draw=_matrix,
        choices=_matrices,
        open=True,
    ),
)
