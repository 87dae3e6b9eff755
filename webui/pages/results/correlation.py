"""The comparison of two rankings of heads, of one job or of two."""

from __future__ import annotations

import math
from typing import Any

from flask import Blueprint, render_template, request

from db.reads import jobs as job_reads
from db.reads.jobs import Job
from db.results import rankings
from headwise.stats.ranking import correlation
from jobs.errors import refuse
from jobs.kinds import ranking_source
from scheduler.figures.rankings import ranking_title, scatter_of
from webui.context import choice, database
from webui.figures.shown import show

blueprint = Blueprint("rankings", __name__)


@blueprint.get("/jobs/<int(max=2147483647):job_id>/correlation")
def compare(job_id: int) -> str:
    """Compare a ranking of the job (?source=) with another one (?with=job.source)."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    known = rankings.list_rankings(opened, job.id, job.layers or 0, job.heads or 0)
    own = [one.source for one in known if one.job_id == job_id]
    source = choice("source", own, own[0] if own else "")
    others = {
        f"{one.job_id}.{one.source}": one
        for one in known
        if (one.job_id, one.source) != (job_id, source)
    }
    chosen = request.args.get("with", "") or next(iter(others), "")
    if chosen and chosen not in others:
        raise refuse("with", chosen, "is not a ranking of a model of this shape", "See the list.")
    return render_template(
        "correlation.html",
        job=job,
        own=[(name, ranking_source(name).title) for name in own],
        source=source,
        others=[(key, ranking_title(one)) for key, one in others.items()],
        chosen=chosen,
        shown=show(job, "correlation", {"source": source, "with": chosen})
        if source and chosen
        else None,
        **(correlated(job, source, others[chosen]) if source and chosen else {}),
    )


def correlated(job: Job, source: str, other: rankings.Ranked) -> dict[str, Any]:
    """Correlate a job's ranking with another one; with the figure of both.

    Raises InputError for models of different shape.
    """
    opened = database()
    own = rankings.Ranked(job_id=job.id, name=job.name, kind=job.kind, source=source)
    figure = scatter_of(opened, own, other)
    found = correlation(
        *(rankings.get_means(opened, one.job_id, one.source) for one in (own, other))
    )
    return {
        "found": {
            name: None if math.isnan(value) else value
            for name, value in (("pearson", found.pearson), ("spearman", found.spearman))
        },
        "n": found.n,
        "other": other,
        "figure": figure,
    }
