"""Importance jobs: their form, and their section of a job's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Site
from db.results import rankings
from jobs.formatting import head_name
from jobs.kinds import ranking_source
from jobs.results import HeadRank
from webui.context import choice, database
from webui.heads import SHOWN, site_name
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
        "ranking_sources": [(name, ranking_source(name).title) for name in sources],
        "source": source,
        "ranking": rows if every else rows[:SHOWN],
        "ranking_total": len(rows),
        "every_head": every,
        "chart": _chart(sites, found),
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


def _chart(sites: Sequence[Site], found: Sequence[HeadRank]) -> dict[str, Any]:
    """Numbers of the heat map: a [site][head] grid per source, null where there is no head."""
    width = max((site.heads for site in sites), default=0)
    by_place = {(head.source, head.site, head.head): head for head in found}

    def grid(source: str) -> list[list[HeadRank | None]]:
        return [[by_place.get((source, site.site, h)) for h in range(width)] for site in sites]

    sources = list(dict.fromkeys(head.source for head in found))
    return {
        "rows": [site_name(site) for site in sites],
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


PAGE = KindPage(
    title="Importance",
    lead="How much each head matters by other means than attribution, to compare with: Taylor "
    "expansion, leaving one head out, or the notebook's gradient of the embeddings.",
    section=section,
    anchors=("heads",),
    exports=("importances", "head_values", "examples", "shards", "attempts"),
    question="SELECT source, rank, rank_low, rank_high, kind, layer, head, mean\n"
    "FROM importances\nWHERE job_id = %d\nORDER BY source, rank",
)
