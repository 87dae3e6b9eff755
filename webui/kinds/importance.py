"""Rankings of heads: an importance job's results, and how two rankings go together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, render_template, request

from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Site
from db.results import rankings
from headwise.stats.ranking import correlation
from jobs.errors import refuse
from jobs.formatting import head_name
from jobs.kinds import ranking_source
from jobs.merge import HeadRank
from webui.context import choice, database
from webui.pages import heads

blueprint = Blueprint("rankings", __name__)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the table of a ranking."""

    name: str
    head: HeadRank
    left: float
    width: float
    """The interval of the rank, from 0 to 100."""


def section(job: Job) -> dict[str, Any]:
    """What an importance job's page shows; ?source= chooses the table."""
    opened = database()
    found, provisional = rankings.get_rankings(opened, job.id)
    sources = list(dict.fromkeys(head.source for head in found))
    source = choice("source", sources, sources[0]) if sources else ""
    sites = results.list_sites(opened, job.id)
    lines = _lines(sites, [head for head in found if head.source == source])
    every = choice("heads", ("all",)) == "all"
    return {
        "sites": sites if found else [],
        "provisional": provisional,
        "ranking_sources": [(name, ranking_source(name).title) for name in sources],
        "source": source,
        "ranking": lines if every else lines[: heads.SHOWN],
        "ranking_total": len(lines),
        "every_head": every,
        "chart": _chart(sites, found),
    }


@blueprint.get("/jobs/<int(max=2147483647):job_id>/correlation")
def compare(job_id: int) -> str:
    """One ranking of the job (?source=) against another one (?with=job.source), from a list."""
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
    """The correlation of a job's ranking with another one, and the scatter's numbers.

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
        (head_name(site.layer, head, site.kind), one[site.site, head], two[site.site, head])
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


def _lines(sites: Sequence[Site], ranked: Sequence[HeadRank]) -> list[Line]:
    by_number = {site.site: site for site in sites}
    scale = 100 / max(1, len(ranked))
    found = []
    for head in sorted(ranked, key=lambda head: head.rank):
        site = by_number[head.site]
        low, high = head.rank_low or head.rank, head.rank_high or head.rank
        found.append(
            Line(
                name=head_name(site.layer, head.head, site.kind),
                head=head,
                left=round((low - 1) * scale, 2),
                width=round((high - low + 1) * scale, 2),
            )
        )
    return found


def _chart(sites: Sequence[Site], found: Sequence[HeadRank]) -> dict[str, Any]:
    """The heat map's numbers: a [site][head] grid per source, null where there is no head."""
    width = max((site.heads for site in sites), default=0)
    by_place = {(head.source, head.site, head.head): head for head in found}

    def grid(source: str) -> list[list[HeadRank | None]]:
        return [[by_place.get((source, site.site, h)) for h in range(width)] for site in sites]

    sources = list(dict.fromkeys(head.source for head in found))
    return {
        "rows": [heads.site_name(site) for site in sites],
        "heads": width,
        "measures": {
            source: {
                "title": ranking_source(source).title,
                "meaning": ranking_source(source).meaning,
                "values": [[h and h.mean for h in row] for row in grid(source)],
                "notes": [[h and _note(h) for h in row] for row in grid(source)],
            }
            for source in sources
        },
    }


def _note(head: HeadRank) -> str:
    interval = "" if head.rank_low is None else f", 95 %: {head.rank_low} to {head.rank_high}"
    return f"Rank {head.rank}{interval}"
