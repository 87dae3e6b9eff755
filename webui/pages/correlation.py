"""The comparison of two rankings of heads, of one job or of two."""

from __future__ import annotations

import math
from typing import Any

from flask import Blueprint, render_template, request

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.results import rankings
from headwise.stats.ranking import correlation
from jobs.errors import refuse
from jobs.formatting import head_name
from jobs.kinds import ranking_source
from webui.context import choice, database

blueprint = Blueprint("rankings", __name__)


@blueprint.get("/jobs/<int(max=2147483647):job_id>/correlation")
def compare(job_id: int) -> str:
    """Compare a ranking of the job (?source=) with another one (?with=job.source)."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    known = rankings.list_rankings(opened, job.layers or 0, job.heads or 0)
    own = [one.source for one in known if one.job_id == job_id]
    source = choice("source", own, own[0] if own else "")
    others = {
        f"{one.job_id}.{one.source}": one
        for one in known
        if (one.job_id, one.source) != (job_id, source)
    }
    chosen = request.args.get("with", "") or next(iter(others), "")
    if chosen and chosen not in others:
        raise refuse("with", chosen, "is no ranking of a model of this shape", "See the list.")
    return render_template(
        "correlation.html",
        job=job,
        own=[(name, ranking_source(name).title) for name in own],
        source=source,
        others=[(key, _title(one)) for key, one in others.items()],
        chosen=chosen,
        **(correlated(job, source, others[chosen]) if source and chosen else {}),
    )


def correlated(job: Job, source: str, other: rankings.Ranked) -> dict[str, Any]:
    """Correlate a job's ranking with another one; the values are those of `correlation.html`.

    Raises InputError for models of different shape.
    """
    opened = database()
    one = rankings.get_means(opened, job.id, source)
    two = rankings.get_means(opened, other.job_id, other.source)
    if one.shape != two.shape:
        message = "has sites or heads that this job's model does not have"
        raise refuse("with", f"{other.job_id}.{other.source}", message, "Choose another.")
    sites = results.list_sites(opened, job.id)
    points = [
        (
            head_name(site.layer, head, site.attention_type),
            one[site.site, head],
            two[site.site, head],
        )
        for site in sites
        for head in range(site.heads)
        if not math.isnan(one[site.site, head] + two[site.site, head])
    ]
    found = correlation(one, two)
    return {
        "found": {
            name: None if math.isnan(value) else value
            for name, value in (("pearson", found.pearson), ("spearman", found.spearman))
        },
        "n": found.n,
        "other": other,
        "scatter": {
            "x": [x for _, x, _ in points],
            "y": [y for _, _, y in points],
            "names": [name for name, _, _ in points],
            "x_title": f"{ranking_source(source).title}, job {job.id}",
            "y_title": _title(other),
        },
    }


def _title(one: rankings.Ranked) -> str:
    name = f" ({one.name})" if one.name else ""
    return f"{ranking_source(one.source).title}, job {one.job_id}{name}"
