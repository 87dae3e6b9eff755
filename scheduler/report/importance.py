"""Importance jobs in reports, and the rankings of other kinds."""

from __future__ import annotations

from db.database import Database
from db.reads import results
from db.reads.jobs import Job
from db.results import rankings
from headwise.naming import head_name
from jobs.formatting import MISSING, count
from jobs.kinds import ranking_source
from jobs.results.base import HeadRank
from jobs.specs.submission import parse_spec
from scheduler.report.base import Part, Table, with_interval

MOST = 10
"""Heads in the table of a source, the most important first."""


def method(job: Job) -> list[str]:
    """The sources that a job ranks heads by."""
    sources = [ranking_source(name) for name in parse_spec(job.spec).offers]
    meant = "; ".join(f"{one.title}, {one.meaning}" for one in sources)
    return [
        f"Heads are also ranked by {meant}. Means have the normal 95 % interval, ranks one of a "
        "Poisson bootstrap over examples."
    ]


def tables(database: Database, job: Job) -> list[Table]:
    """The first heads by every source."""
    found, _ = rankings.get_rankings(database, job.id)
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    names = {
        (head.site, head.head): head_name(
            sites[head.site].layer, head.head, sites[head.site].attention_type
        )
        for head in found
        if head.site in sites
    }
    sources = dict.fromkeys(head.source for head in found)
    return [
        _table(source, [one for one in found if one.source == source], names) for source in sources
    ]


def _table(source: str, heads: list[HeadRank], names: dict[tuple[int, int], str]) -> Table:
    heads = sorted(heads, key=lambda head: head.rank)
    named = ranking_source(source)
    shown = f"The first {MOST} of {len(heads):,} heads" if len(heads) > MOST else "All heads"
    return Table(
        title=f"Heads by {named.title}",
        note=f"{shown}, with 95 % intervals of mean and rank. {named.title}: {named.meaning}.",
        columns=("Head", "Rank", "Rank (95 %)", "Mean (95 %)", "n"),
        rows=[
            (
                names.get((head.site, head.head), MISSING),
                str(head.rank),
                f"{head.rank_low} to {head.rank_high}" if head.rank_low else MISSING,
                with_interval((head.mean, *head.interval)),
                count(head.n),
            )
            for head in heads[:MOST]
        ],
    )


PART = Part(
    question="Do other measures of importance order the heads in the same way?",
    method=method,
    tables=tables,
)
