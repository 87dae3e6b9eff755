"""The findings of attribution jobs."""

from __future__ import annotations

import math

from db.database import Database
from db.reads import results
from db.reads.jobs import Job
from headwise.naming import head_name
from jobs.formatting import counted, number, percent

TOP = 10


def findings(database: Database, job: Job) -> list[str]:
    """The first head and the share of the first ones."""
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    heads = sorted(results.get_importance(database, job.id).heads, key=lambda head: head.rank)
    if not heads:
        return []
    first = heads[0]
    site = sites[first.site]
    name = head_name(site.layer, first.head, site.attention_type)
    interval = "" if first.low is None else f" (95 %: {number(first.low)} to {number(first.high)})"
    sentences = [
        f"Over {counted(first.n, 'example')} {name} has the largest mean attribution, "
        f"{number(first.mean)}{interval}."
    ]
    total = math.fsum(head.mean for head in heads)
    if len(heads) > TOP and total > 0:
        top = math.fsum(head.mean for head in heads[:TOP]) / total
        sentences.append(
            f"The top {TOP} of {len(heads):,} heads account for {percent(top, 0)} of the summed "
            "mean attribution."
        )
    return sentences
