"""Sentences that say what a study found, made of stored results only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, groupby

import numpy as np
from numpy.typing import NDArray

from db.database import Database
from db.kinds import pruning
from db.kinds.pruning import Point
from db.reads import attack as attack_reads
from db.reads import results
from db.reads.jobs import Job
from db.results import rankings
from headwise.stats.ranking import correlation
from jobs.formatting import counted, head_name, number, percent
from jobs.kinds import ranking_source
from jobs.kinds.attack import TriggerKind
from jobs.kinds.pruning import RANDOM
from jobs.specs.submission import parse_spec
from jobs.states import JobState

TOP = 10
HALF, FIFTH = 0.5, 0.2
"""Shares of removed heads that are reported: least and most important first."""

Doubles = NDArray[np.float64]


def findings(database: Database, jobs: Mapping[str, Job]) -> dict[str, list[str]]:
    """Sentences by step, of the steps that have succeeded."""
    found = {
        step: SENTENCES[job.kind](database, job)
        for step, job in jobs.items()
        if job.state is JobState.SUCCEEDED and job.kind in SENTENCES
    }
    if agreement := agree(ranked(database, jobs)):
        found["agreement"] = agreement
    return {step: said for step, said in found.items() if said}


def ranked(database: Database, jobs: Mapping[str, Job]) -> dict[tuple[int, str], Doubles]:
    """Mean importance [S, H] by job and source, of the rankings that a study compares."""
    return {
        (job.id, source): rankings.get_means(database, job.id, source)
        for job in jobs.values()
        if job.state is JobState.SUCCEEDED
        for source in parse_spec(job.spec).compared
    }


def agree(means: Mapping[tuple[int, str], Doubles]) -> list[str]:
    """The two rankings that agree most and the two that agree least, by Spearman's correlation."""
    pairs = [
        (found.spearman, found.n, ranking_source(one[1]).title, ranking_source(other[1]).title)
        for one, other in combinations(means, 2)
        if not math.isnan((found := correlation(means[one], means[other])).spearman)
    ]
    if not pairs:
        return []
    said = [
        f"{a} and {b} order the {counted(n, 'head')} with a rank correlation of {rho:z.2f}"
        for rho, n, a, b in dict.fromkeys((max(pairs), min(pairs)))
    ]
    if len(said) == 1:
        return [said[0] + "."]
    return [f"The two that agree most: {said[0]}.", f"The two that agree least: {said[1]}."]


def _attribution(database: Database, job: Job) -> list[str]:
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    heads = sorted(results.get_importance(database, job.id).heads, key=lambda head: head.rank)
    if not heads:
        return []
    first = heads[0]
    site = sites[first.site]
    name = head_name(site.layer, first.head, site.attention_type)
    interval = "" if first.low is None else f" (95 %: {number(first.low)} to {number(first.high)})"
    said = [
        f"Over {counted(first.n, 'example')} {name} has the largest mean attribution, "
        f"{number(first.mean)}{interval}."
    ]
    total = math.fsum(head.mean for head in heads)
    if len(heads) > TOP and total > 0:
        top = math.fsum(head.mean for head in heads[:TOP]) / total
        said.append(
            f"The first {TOP} of {len(heads):,} heads hold {percent(top, 0)} of the sum of all "
            "means."
        )
    return said


def _importance(database: Database, job: Job) -> list[str]:
    sites = {site.site: site for site in results.list_sites(database, job.id)}
    heads, _ = rankings.get_rankings(database, job.id)
    said = []
    for head in heads:
        if head.rank == 1:
            site = sites[head.site]
            rank = (
                f" (95 % of its rank: {head.rank_low} to {head.rank_high})" if head.rank_low else ""
            )
            said.append(
                f"{ranking_source(head.source).title}: "
                f"{head_name(site.layer, head.head, site.attention_type)} is first with "
                f"{number(head.mean)}{rank}, over {counted(head.n, 'example')}."
            )
    return said


def _pruning(database: Database, job: Job) -> list[str]:
    points, _ = pruning.get_points(database, job.id)
    curve = [point for point in points if point.scope == "global"]
    whole = next((one.result for one in curve if one.removed == 0), None)
    if whole is None:
        return []
    said = [
        f"The whole model is right on {percent(whole.accuracy)} of {counted(whole.n, 'example')} "
        f"(95 %: {percent(whole.accuracy_low)} to {percent(whole.accuracy_high)})."
    ]
    for direction, share in (("least", HALF), ("most", FIFTH)):
        near = _nearest([p for p in curve if p.direction in (direction, "any")], share)
        parts = [
            f"{ranking_source(p.source).title} {_accuracy(p)}" for p in near if p.source != RANDOM
        ]
        drawn = [p.result.accuracy for p in near if p.source == RANDOM and p.result]
        values = sorted(value for value in drawn if value is not None)
        if not parts:
            continue
        if values:
            parts.append(
                f"random {percent(values[0])} to {percent(values[-1])} "
                f"({counted(len(values), 'order')})"
            )
        removed = f"{near[0].removed:,} heads ({percent(near[0].share, 0)})"
        said.append(
            f"Accuracy with {removed} removed, {direction} important first: {'; '.join(parts)}."
        )
    return said + _choice(database, job)


def _choice(database: Database, job: Job) -> list[str]:
    choice = pruning.get_choice(database, job.id)
    if choice is None or choice.removed is None:
        return []
    within = f"{job.spec['within']:g} points"
    outcome = "holds" if choice.verified else "does not hold"
    return [
        f"{counted(choice.removed, 'head')} can go while accuracy on "
        f"{counted(choice.search_n or 0, 'example')} stays within {within} "
        f"({percent(choice.search_whole)} to {percent(choice.search_accuracy)}). On the other "
        f"{choice.held_out_n:,} that {outcome}: {percent(choice.held_out_whole)} to "
        f"{percent(choice.held_out_accuracy)}."
    ]


def _nearest(points: Iterable[Point], share: float) -> list[Point]:
    """The points of all curves at the one share of removed heads that is nearest to `share`."""
    inner = [point for point in points if 0 < point.share < 1]
    if not inner:
        return []
    best = min((point.removed for point in inner), key=lambda removed: _far(inner, removed, share))
    return [point for point in inner if point.removed == best]


def _far(points: list[Point], removed: int, share: float) -> float:
    return min(abs(point.share - share) for point in points if point.removed == removed)


def _accuracy(point: Point) -> str:
    return percent(point.result.accuracy if point.result else None)


def _attack(database: Database, job: Job) -> list[str]:
    said = []
    triggers = {one.number: one for one in attack_reads.list_triggers(database, job.id)}
    tried = Counter(trigger.kind for trigger in triggers.values())
    best = [
        one
        for one in attack_reads.get_results(database, job.id)
        if one.rank == 1 and one.sums.model == 0 and one.success[0] is not None
    ]
    best.sort(key=lambda one: (one.sums.gold, list(TriggerKind).index(one.kind)))
    for gold, group in groupby(best, key=lambda one: one.sums.gold):
        parts = [
            f"the best of {tried[one.kind]:,} {KIND_NAMES[one.kind]}, "
            f"“{triggers[one.sums.trigger].text}”, turns {percent(one.success[0])} of what was "
            f"predicted right, accuracy from {percent(one.accuracy_before[0])} to "
            f"{percent(one.accuracy_after[0])} of {counted(one.sums.n, 'example')}"
            for one in group
        ]
        said.append(f"Against {job.labels[gold]}: {'; '.join(parts)}.")
    return said


KIND_NAMES = {
    TriggerKind.MINED: "mined triggers",
    TriggerKind.GIVEN: "given triggers",
    TriggerKind.RANDOM: "random controls",
    TriggerKind.ATTENTION: "controls by attention",
}

SENTENCES: dict[str, Callable[[Database, Job], list[str]]] = {
    "attribution": _attribution,
    "importance": _importance,
    "pruning": _pruning,
    "attack": _attack,
}
"""The sentences about a job that has succeeded, by its kind."""
