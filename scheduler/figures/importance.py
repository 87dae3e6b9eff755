"""The figures of importance jobs."""

from __future__ import annotations

from collections.abc import Mapping

from db.database import Database
from db.reads import results
from db.reads.jobs import Job
from db.results import rankings
from headwise.figures import Figure, Measure, heat_map
from jobs.kinds import ranking_source
from scheduler.figures.base import Choices, FigureKind, no_results, source
from scheduler.figures.rankings import CORRELATION, RANKS


def _sources(database: Database, job: Job) -> Choices:
    found, _ = rankings.get_rankings(database, job.id)
    return {"source": {head.source: ranking_source(head.source).title for head in found}}


def _heads(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    ranked, provisional = rankings.get_rankings(database, job.id)
    own = [head for head in ranked if head.source == chosen["source"]]
    if not own:
        raise no_results(job)
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    rows = [
        {
            "attention_type": sites[head.site].attention_type,
            "layer": sites[head.site].layer,
            "head": head.head,
            "importance": head.mean,
            **{name: getattr(head, name) for name in ("rank", "rank_low", "rank_high")},
        }
        for head in own
        if head.site in sites
    ]
    named = ranking_source(chosen["source"])
    measure = Measure(name="importance", title=named.title, meaning=named.meaning)
    return heat_map(rows, measure, [source(job, own[0].n, provisional=provisional)])


FIGURES = (
    FigureKind(name="heads", title="Heads", draw=_heads, choices=_sources),
    RANKS,
    CORRELATION,
)
