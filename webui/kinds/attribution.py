"""Attribution jobs: their form, and their section of a job's page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import request, url_for

from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Site
from headwise.naming import head_name
from jobs.kinds.head_importance import HeadImportance
from webui.context import choice, database, integer, optional_integer, words
from webui.figures.shown import Shown, show
from webui.forms.controls import Controls
from webui.heads import SHOWN, place_values, url_values
from webui.kinds.base import KindPage

EXAMPLES = 25
"""Examples on a page of their list."""

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
    """A row of the table of heads."""

    name: str
    url_values: dict[str, Any]
    head: HeadImportance
    low: float
    mid: float
    high: float
    """Ends and middle of the interval, from 0 to 100 of the widest one."""


def head_rows(sites: Sequence[Site], heads: Sequence[HeadImportance], sort: str) -> list[Row]:
    """The rows of the table of heads, sorted by a key of SORTS."""
    top = max((head.high or head.mean for head in heads), default=0.0) or 1.0
    bottom = min(0.0, min((head.low or head.mean for head in heads), default=0.0))
    by_number = {site.site: site for site in sites}

    def place(value: float | None, fallback: float) -> float:
        return round(100 * ((fallback if value is None else value) - bottom) / (top - bottom), 2)

    return [
        Row(
            name=head_name(
                by_number[head.site].layer, head.head, by_number[head.site].attention_type
            ),
            url_values=url_values(by_number[head.site], head.head),
            head=head,
            low=place(head.low, head.mean),
            mid=place(head.mean, head.mean),
            high=place(head.high, head.mean),
        )
        for head in sorted(heads, key=SORTS[sort])
        if head.site in by_number
    ]


def heads_figure(job: Job) -> Shown | None:
    """The heat map of an attribution job; its cells lead to the pages of their heads."""

    def address(row: Mapping[str, Any]) -> str:
        return url_for("results.head", job_id=job.id, **place_values(row))

    return show(job, "heads", link=address)


def section(job: Job) -> dict[str, Any]:
    """Values of an attribution job's section.

    ?sort= sorts the table of heads, ?heads=all shows all of it; examples have filters and pages.
    """
    sort, every = choice("sort", SORTS, "rank"), choice("heads", ("all",)) == "all"
    examples = _examples(job)
    if job.examples_done == 0:
        return {"sites": []}
    opened = database()
    sites = results.list_sites(opened, job.id)
    importance = results.get_importance(opened, job.id)
    rows = head_rows(sites, importance.heads, sort)
    completeness = results.get_completeness(opened, job.id, job.examples)
    return {
        "sites": sites,
        "provisional": importance.provisional,
        "head_rows": rows if every else rows[:SHOWN],
        "head_total": len(rows),
        "every_head": every,
        "heads_figure": heads_figure(job),
        "sort": sort,
        "completeness": [(sites[c.site], c) for c in completeness if c.site < len(sites)],
        "completeness_figure": show(job, "completeness"),
        **examples,
    }


def _examples(job: Job) -> dict[str, Any]:
    """A page of examples, filtered by the query string, and the counts of all by label."""
    wanted = results.ExampleFilter(
        only=choice("only", results.ONLY),
        predicted=optional_integer("predicted"),
        gold=optional_integer("gold"),
        contains=words("text"),
    )
    after, before = integer("after", -1, low=-1), optional_integer("before")
    if job.examples_done == 0:
        return {}
    opened = database()
    # One more than is shown tells whether there is another page.
    found = results.list_examples(
        opened, job.id, wanted, after=after, before=before, limit=EXAMPLES + 1
    )
    more = len(found) > EXAMPLES
    shown = found[:EXAMPLES] if before is None else found[-EXAMPLES:]
    confusion, counted_all = results.get_confusion(opened, job.id, job.examples)
    return {
        "confusion": confusion,
        "counted_all": counted_all,
        "examples": shown,
        "has_next": more if before is None else True,
        "has_previous": bool(shown) and after >= 0 if before is None else more,
        "filters": wanted,
        "filtered": bool(request.args.keys() & {"only", "predicted", "gold", "text"}),
    }


def _read_integration(values: Mapping[str, str]) -> str:
    rule = values.get("rule", "auto")
    return rule if rule == "auto" else f"{rule}:{values.get('points', '').strip()}"


def _show_integration(integration: str) -> dict[str, str]:
    rule, _, points = integration.partition(":")
    return {"rule": rule, "points": points or "16"}


PAGE = KindPage(
    title="Attribution",
    lead="What every attention head of a classifier contributes to its predictions on your texts.",
    labels={
        "target": "Target label",
        "output": "Output",
        "integration": "Integration",
        "rtol": "Tolerance (rtol)",
        "max_points": "Points, at most",
        "edges": "Token pairs kept",
    },
    section=section,
    anchors=("heads", "examples", "completeness"),
    exports=(
        *("head_importance", "importances", "head_scores", "examples", "token_edges"),
        *("completeness", "shards", "attempts"),
    ),
    question="SELECT rank, kind, layer, head, mean, low, high\nFROM head_importance\n"
    "WHERE job_id = %d\nORDER BY rank",
    controls={"integration": Controls(read=_read_integration, show=_show_integration)},
)
