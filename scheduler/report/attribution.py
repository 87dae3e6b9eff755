"""Attribution jobs in reports."""

from __future__ import annotations

from db.database import Database
from db.reads import results
from db.reads.jobs import Job
from headwise.naming import head_name, site_label
from jobs.formatting import MISSING, count, number
from jobs.kinds.attribution import AttributionSpec
from jobs.specs.submission import parse_spec
from scheduler.report.base import Part, Table, with_interval

MOST = 20
"""Heads in the table, the most important first."""


def method(job: Job) -> list[str]:
    """The attribution, its integration and the importance of heads."""
    spec = parse_spec(job.spec)
    assert isinstance(spec, AttributionSpec)
    classes = {"predicted": "of the predicted class", "gold": "of the gold class"}
    return [
        "Let A be the attention probabilities of one layer and A_h those of its head h. Scaling A "
        "by α from 0 to 1 leads from no attention to the model as it is. The attribution of the "
        "head is Attr_h(A) = A_h ⊙ ∫ ∂F(αA)/∂A_h dα over that path, by Hao et al. (2021), "
        f"equation 2. F is the {spec.output} {classes.get(spec.target, f'of {spec.target}')}.",
        _integration(spec),
        "The score of a head on an example is the largest cell of its attribution, and its "
        "importance the mean of the score over examples, with the normal 95 % interval of a mean.",
    ]


def _integration(spec: AttributionSpec) -> str:
    if spec.integration != "auto":
        return f"The integral is taken by a fixed rule, {spec.integration}."
    return (
        "Points of the integral are added for each example and layer until its estimated relative "
        f"error is at most {spec.rtol:g}, or {spec.max_points} points are reached."
    )


def tables(database: Database, job: Job) -> list[Table]:
    """The most important heads, and completeness by layer."""
    return [*_heads(database, job), *_completeness(database, job)]


def _heads(database: Database, job: Job) -> list[Table]:
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    heads = sorted(results.get_importance(database, job.id).heads, key=lambda head: head.rank)
    if not heads:
        return []
    rows = [
        (
            head_name(sites[head.site].layer, head.head, sites[head.site].attention_type),
            str(head.rank),
            with_interval((head.mean, head.low, head.high)),
            number(head.mean_total),
            number(head.mean_attention_max),
            count(head.n),
        )
        for head in heads[:MOST]
    ]
    return [
        Table(
            title="Importance of heads",
            note=f"{_shown(len(heads))}. Importance with its 95 % interval over examples; total is "
            "the mean of the sum over a head's cells, attention the mean of its largest attention "
            f"probability. All heads: headwise export {job.id} --table head_importance.",
            columns=("Head", "Rank", "Importance (95 %)", "Total", "Attention", "n"),
            rows=rows,
        )
    ]


def _shown(heads: int) -> str:
    return f"The first {MOST} of {heads:,} heads" if heads > MOST else f"All {heads} heads"


def _completeness(database: Database, job: Job) -> list[Table]:
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    found = results.get_completeness(database, job.id, job.examples)
    if not found:
        return []
    rows = [
        (
            site_label(sites[one.site].layer, sites[one.site].attention_type),
            *(number(value) for value in (one.median, one.p95, one.worst)),
            number(one.points) if one.points else MISSING,
            count(one.n),
        )
        for one in found
        if one.site in sites
    ]
    return [
        Table(
            title="Completeness by layer",
            note="Quantiles of the absolute residual, the part of the change of F that the "
            "attributions of a layer miss, in units of F. Points are the mean number of "
            "integration points.",
            columns=("Layer", "Median", "95 %", "Worst", "Points", "n"),
            rows=rows,
        )
    ]


PART = Part(
    question="Which attention heads contribute most to the predictions?",
    method=method,
    tables=tables,
)
