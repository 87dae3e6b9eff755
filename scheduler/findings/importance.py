"""The findings of importance jobs."""

from __future__ import annotations

from db.database import Database
from db.reads import results
from db.reads.jobs import Job
from db.results import rankings
from headwise.naming import head_name
from jobs.formatting import counted, number
from jobs.kinds import ranking_source


def findings(database: Database, job: Job) -> list[str]:
    """The first head by every source."""
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    heads, _ = rankings.get_rankings(database, job.id)
    sentences = []
    for head in heads:
        if head.rank == 1:
            site = sites[head.site]
            rank = (
                f" (95 % interval of its rank: {head.rank_low} to {head.rank_high})"
                if head.rank_low
                else ""
            )
            sentences.append(
                f"{ranking_source(head.source).title}: "
                f"{head_name(site.layer, head.head, site.attention_type)} ranks first with "
                f"{number(head.mean)}{rank}, over {counted(head.n, 'example')}."
            )
    return sentences
