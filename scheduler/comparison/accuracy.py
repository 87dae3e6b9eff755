"""The accuracy and the completeness of the sides of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from db.database import Database
from db.kinds import pruning
from db.reads import results
from db.reads.jobs import Job
from headwise.stats.shares import share
from scheduler.comparison.sides import Side


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The share of examples that the whole model predicts right, with its 95 % interval."""

    job: Job
    """The job that it is measured in."""
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The accuracy of a side's model, and the completeness of its attribution."""

    accuracy: Accuracy | None
    median: float | None
    """The residual of completeness, in units of the target: the median of the worst site."""
    worst: float | None
    """The largest residual."""
    points: float | None
    """Integration points of an example and site, mean."""


def quality_of(database: Database, side: Side) -> Quality:
    """The quality of a side; what it does not have is None."""
    job = side.job("attribution")
    found = results.get_completeness(database, job.id, job.examples) if job else []
    return Quality(
        accuracy=accuracy_of(database, side),
        median=max((one.median for one in found), default=None),
        worst=max((one.worst for one in found), default=None),
        points=sum(one.points for one in found) / len(found) if found else None,
    )


def accuracy_of(database: Database, side: Side) -> Accuracy | None:
    """The accuracy of a side's model on labelled examples, where one of its jobs counts it."""
    for job in side.jobs:
        if found := _whole_model(database, job) or _predicted(database, job):
            return found
    return None


def _whole_model(database: Database, job: Job) -> Accuracy | None:
    """The first point of a pruning job's curves: no head is removed."""
    points = pruning.get_points(database, job.id)[0] if job.kind == "pruning" else ()
    for point in points:
        found = point.result
        if point.removed == 0 and found and found.accuracy is not None:
            low, high = found.accuracy_low, found.accuracy_high
            return Accuracy(job=job, value=found.accuracy, low=low, high=high, n=found.n)
    return None


def _predicted(database: Database, job: Job) -> Accuracy | None:
    """The predictions of a job's examples, where they are stored and labelled."""
    counts, _ = results.get_confusion(database, job.id, job.examples)
    n = sum(counts.values())
    if not n:
        return None
    right = sum(count for (gold, predicted), count in counts.items() if gold == predicted)
    found = share(right, n)
    return Accuracy(
        job=job, value=float(found.value), low=float(found.low), high=float(found.high), n=n
    )
