"""Importance jobs: their form, and their section of a job's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Site
from db.results import rankings
from headwise.naming import head_name
from jobs.results.base import HeadRank
from webui.context import choice, database
from webui.figures.shown import show
from webui.heads import SHOWN
from webui.kinds.base import KindPage


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table of a ranking."""

    name: str
    head: HeadRank
    left: float
    width: float
    """Place of the rank's interval, in percent of all ranks."""


def section(job: Job) -> dict[str, Any]:
    """Values of the section of a job that ranks heads, with a heat map and a table.

    ?source= chooses the ranking of the table, ?heads=all shows all of it.
    """
    opened = database()
    found, provisional = rankings.get_rankings(opened, job.id)
    sources = list(dict.fromkeys(head.source for head in found))
    source = choice("source", sources, sources[0]) if sources else ""
    sites = results.list_sites(opened, job.id)
    rows = _rows(sites, [head for head in found if head.source == source])
    every = choice("heads", ("all",)) == "all"
    return {
        "sites": sites if found else [],
        "provisional": provisional,
        "source": source,
        "ranking": rows if every else rows[:SHOWN],
        "ranking_total": len(rows),
        "every_head": every,
        "heads_figure": show(job, "heads"),
    }


def _rows(sites: Sequence[Site], ranked: Sequence[HeadRank]) -> list[Row]:
    by_number = {site.site: site for site in sites}
    scale = 100 / max(1, len(ranked))
    found = []
    for head in sorted(ranked, key=lambda head: head.rank):
        site = by_number[head.site]
        low, high = head.rank_low or head.rank, head.rank_high or head.rank
        found.append(
            Row(
                name=head_name(site.layer, head.head, site.attention_type),
                head=head,
                left=round((low - 1) * scale, 2),
                width=round((high - low + 1) * scale, 2),
            )
        )
    return found


PAGE = KindPage(
    title="Importance",
    lead="How much each head matters by measures other than attribution, for comparison: Taylor "
    "expansion, leaving one head out, or the notebook's embedding gradient.",
    labels={
        "method": "Importance by",
    },
    section=section,
    anchors=("heads",),
    exports=("importances", "head_values", "examples", "shards", "attempts"),
    question="SELECT source, rank, rank_low, rank_high, kind, layer, head, mean\n"
    "FROM importances\nWHERE job_id = %d\nORDER BY source, rank",
)
