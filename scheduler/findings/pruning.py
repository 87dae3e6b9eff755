"""The findings of pruning jobs."""

from __future__ import annotations

from collections.abc import Iterable

from db.database import Database
from db.kinds import pruning
from db.kinds.pruning import Point
from db.reads.jobs import Job
from jobs.formatting import counted, percent, percentage_points
from jobs.kinds import ranking_source
from jobs.kinds.pruning import RANDOM

HALF, FIFTH = 0.5, 0.2
"""Shares of removed heads that are reported: least and most important first."""


def findings(database: Database, job: Job) -> list[str]:
    """The accuracy of the whole model, of two cuts by every ranking, and the chosen cut."""
    points, _ = pruning.get_points(database, job.id)
    curve = [point for point in points if point.scope == "global"]
    whole = next((one.result for one in curve if one.removed == 0), None)
    if whole is None:
        return []
    sentences = [
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
        removed = f"{counted(near[0].removed, 'head')} ({percent(near[0].share, 0)})"
        sentences.append(
            f"Accuracy with {removed} removed, {direction} important first: {'; '.join(parts)}."
        )
    return sentences + _choice(database, job)


def _choice(database: Database, job: Job) -> list[str]:
    choice = pruning.get_choice(database, job.id)
    if choice is None or choice.removed is None:
        return []
    outcome = "holds" if choice.verified else "does not hold"
    return [
        f"{counted(choice.removed, 'head')} can be removed while accuracy on "
        f"{counted(choice.search_n or 0, 'example')} falls by at most "
        f"{percentage_points(job.spec['within'])} "
        f"({percent(choice.search_whole)} to {percent(choice.search_accuracy)}). On the other "
        f"{choice.held_out_n:,}, the limit {outcome}: {percent(choice.held_out_whole)} to "
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
