"""Head importance as the pages show it: sorted rows, and the charts' numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for

from db.reads.results import Site
from db.results.digest import SiteCompleteness
from jobs.formatting import head_name
from jobs.merge import HeadImportance

SHOWN = 20
"""Heads in the table before 'show all'."""

MEASURES = {
    "mean": ("Attribution score", "mean over examples of the head's largest cell"),
    "mean_total": ("Total", "mean of the sum over the head's cells, with sign"),
    "mean_absolute_total": ("Absolute total", "mean of |sum over the head's cells|"),
    "mean_attention_max": ("Attention, max", "mean of the largest attention probability"),
    "mean_attention_mean": ("Attention, mean", "mean of the rows' largest attention probability"),
}
"""What the heat map can show: name and meaning."""

SORTS: dict[str, Callable[[HeadImportance], Any]] = {
    "rank": lambda head: head.rank,
    "place": lambda head: (head.site, head.head),
    "std": lambda head: -(head.std or 0.0),
    "mean_total": lambda head: -head.mean_total,
    "mean_absolute_total": lambda head: -head.mean_absolute_total,
    "mean_attention_max": lambda head: -head.mean_attention_max,
    "mean_attention_mean": lambda head: -head.mean_attention_mean,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the head table."""

    name: str
    url_values: dict[str, Any]
    head: HeadImportance
    low: float
    mid: float
    high: float
    """Ends and middle of the interval, from 0 to 100 of the widest one."""


def rows(sites: Sequence[Site], heads: Sequence[HeadImportance], sort: str) -> list[Row]:
    """The head table in the order asked for."""
    top = max((head.high or head.mean for head in heads), default=0.0) or 1.0
    bottom = min(0.0, min((head.low or head.mean for head in heads), default=0.0))
    by_number = {site.site: site for site in sites}

    def place(value: float | None, fallback: float) -> float:
        return round(100 * ((fallback if value is None else value) - bottom) / (top - bottom), 2)

    return [
        Row(
            name=head_name(by_number[head.site].layer, head.head, by_number[head.site].kind),
            url_values=url_values(by_number[head.site], head.head),
            head=head,
            low=place(head.low, head.mean),
            mid=place(head.mean, head.mean),
            high=place(head.high, head.mean),
        )
        for head in sorted(heads, key=SORTS[sort])
        if head.site in by_number
    ]


def url_values(site: Site, head: int) -> dict[str, Any]:
    """Arguments of a head's address; the usual kind is left out."""
    values: dict[str, Any] = {"layer": site.layer, "head": head}
    return values if site.kind == "encoder" else {**values, "kind": site.kind}


def site_name(site: Site) -> str:
    """Row label of a heat map."""
    return f"L{site.layer}" if site.kind == "encoder" else f"{site.kind} L{site.layer}"


def chart(job_id: int, sites: Sequence[Site], heads: Sequence[HeadImportance]) -> dict[str, Any]:
    """The heat map's numbers: a [site][head] grid per measure, null where there is no head."""
    width = max((site.heads for site in sites), default=0)
    found = {(head.site, head.head): head for head in heads}
    grid = [[found.get((site.site, h)) for h in range(width)] for site in sites]

    def values(name: str) -> list[list[float | None]]:
        return [[None if h is None else getattr(h, name) for h in row] for row in grid]

    return {
        "rows": [site_name(site) for site in sites],
        "heads": width,
        "total": len(heads),
        "measures": {
            name: {"title": title, "meaning": meaning, "values": values(name)}
            for name, (title, meaning) in MEASURES.items()
        },
        "low": values("low"),
        "high": values("high"),
        "rank": values("rank"),
        "links": [
            [
                url_for("results.head", job_id=job_id, **url_values(site, h))
                for h in range(site.heads)
            ]
            for site in sites
        ],
    }


def completeness_chart(
    sites: Sequence[Site], completeness: Sequence[SiteCompleteness]
) -> dict[str, Any]:
    """Residual quantiles and points by site."""
    named = {site.site: site_name(site) for site in sites}
    return {
        "rows": [named.get(c.site, str(c.site)) for c in completeness],
        "median": [c.median for c in completeness],
        "p95": [c.p95 for c in completeness],
        "worst": [c.worst for c in completeness],
        "points": [c.points for c in completeness],
    }
