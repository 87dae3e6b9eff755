"""The figures of jobs that rank heads: ranks by several sources, and two rankings compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from db.database import Database
from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.results import rankings
from db.results.rankings import Ranked
from headwise.figures import Figure, Measure, bump, scatter
from headwise.figures.encoding import ends
from headwise.naming import head_name
from jobs.errors import refuse
from jobs.kinds import ranking_source
from scheduler.figures.base import Choices, FigureKind, no_results, source


def ranking_title(one: Ranked) -> str:
    """A ranking with the number and the name of its job."""
    name = f" ({one.name})" if one.name else ""
    return f"{ranking_source(one.source).title}, job {one.job_id}{name}"


def rank_rows(
    database: Database, job: Job, sources: Sequence[str] | None = None, suffix: str = ""
) -> list[dict[str, Any]]:
    """The rows of a bump chart: the ranks of a job's heads by each source, with their intervals.

    sources: which of them; by default all
    suffix: of the names of the rankings, where several jobs come together
    """
    found, _ = rankings.get_rankings(database, job.id)
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    return [
        {
            "name": head_name(sites[head.site].layer, head.head, sites[head.site].attention_type),
            "ranking": ranking_source(head.source).title + suffix,
            **{name: getattr(head, name) for name in ("rank", "rank_low", "rank_high")},
        }
        for head in found
        if head.site in sites and (sources is None or head.source in sources)
    ]


def scatter_of(database: Database, one: Ranked, other: Ranked) -> Figure:
    """Every head by two rankings of models of the same shape, with 95 % intervals of the means.

    Raises InputError for models of another shape.
    """
    both = {"one": one, "other": other}
    shapes = [rankings.get_means(database, r.job_id, r.source).shape for r in both.values()]
    if shapes[0] != shapes[1]:
        message = "has sites or heads that this job's model does not have"
        raise refuse("with", f"{other.job_id}.{other.source}", message, "Choose another.")
    values = {axis: _means(database, ranked, axis) for axis, ranked in both.items()}
    rows = [
        {
            "name": head_name(site.layer, head, site.attention_type),
            **values["one"][site.site, head],
            **values["other"][site.site, head],
        }
        for site in results.list_sites(database, one.job_id)
        for head in range(site.heads)
        if all((site.site, head) in found for found in values.values())
    ]
    x, y = (Measure(name=name, title=ranking_title(ranked)) for name, ranked in both.items())
    jobs = dict.fromkeys(ranked.job_id for ranked in both.values())
    done = [job_reads.get_job(database, number) for number in jobs]
    return scatter(rows, x, y, [source(job, job.examples_ok) for job in done])


def _means(database: Database, ranked: Ranked, axis: str) -> dict[tuple[int, int], dict[str, Any]]:
    """The mean of every head that is ranked with its interval, as columns named after an axis."""
    found, _ = rankings.get_rankings(database, ranked.job_id)
    low, high = ends(axis)
    return {
        (head.site, head.head): {axis: head.mean, low: head.interval[0], high: head.interval[1]}
        for head in found
        if head.source == ranked.source
    }


def _ranks(database: Database, job: Job, _chosen: Mapping[str, str]) -> Figure:
    rows = rank_rows(database, job)
    if not rows:
        raise no_results(job)
    return bump(rows, [source(job, job.examples_ok, provisional=not job.final)])


def _known(database: Database, job: Job) -> list[Ranked]:
    return rankings.list_rankings(database, job.id, job.layers or 0, job.heads or 0)


def _pairs(database: Database, job: Job) -> Choices:
    known = _known(database, job)
    own = {one.source: ranking_source(one.source).title for one in known if one.job_id == job.id}
    others = {f"{one.job_id}.{one.source}": ranking_title(one) for one in known}
    return {"source": own, "with": others}


def _correlation(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    if not chosen["source"]:
        raise no_results(job)
    known = {f"{one.job_id}.{one.source}": one for one in _known(database, job)}
    return scatter_of(database, known[f"{job.id}.{chosen['source']}"], known[chosen["with"]])


RANKS = FigureKind(name="ranks", title="Ranks by several sources", draw=_ranks)
CORRELATION = FigureKind(
    name="correlation", title="Two rankings", draw=_correlation, choices=_pairs
)
