"""Pruning jobs in reports."""

from __future__ import annotations

from collections.abc import Sequence

from db.database import Database
from db.kinds import pruning
from db.reads.jobs import Job
from jobs.formatting import MISSING, count, counted, percent, percentage_points
from jobs.kinds import ranking_source
from jobs.kinds.pruning import RANDOM, Direction, PruningScope, PruningSpec
from jobs.specs.submission import parse_spec
from scheduler.figures.pruning import Line, lines
from scheduler.report.base import Part, Table, with_interval

ORDERS = {
    Direction.LEAST: "least important heads first",
    Direction.MOST: "most important heads first",
}
"""The orders of removal that have a table."""


def method(job: Job) -> list[str]:
    """The orders of removal, and the choice."""
    spec = parse_spec(job.spec)
    assert isinstance(spec, PruningSpec)
    sources = dict.fromkeys(ranking_source(one.source).title for one in spec.sources)
    random = f", and in {counted(spec.random, 'random order')}" if spec.random else ""
    paragraphs = [
        "Heads are removed, that is, their output is set to zero, in the order of their importance "
        f"by {', '.join(sources)}{random}. Accuracy has Wilson's 95 % interval."
    ]
    if spec.within is not None:
        paragraphs.append(
            "The most heads, by the first ranking, that leave accuracy within "
            f"{percentage_points(spec.within)} are chosen on one half of the examples and measured "
            "on the other."
        )
    return paragraphs


def tables(database: Database, job: Job) -> list[Table]:
    """Accuracy by the share of removed heads, in both orders, and the chosen cut."""
    points, _ = pruning.get_points(database, job.id)
    curves = lines(job, points, PruningScope.GLOBAL)
    found = [
        _curve(title, [line for line in curves if line.direction in (order, Direction.ANY)])
        for order, title in ORDERS.items()
        if any(line.direction == order for line in curves)
    ]
    return [*found, *_choice(database, job)]


def _curve(order: str, curves: Sequence[Line]) -> Table:
    """The accuracy of every curve at each share that one of them has."""
    values = {
        (line.key, row.point.removed): with_interval(row.values["accuracy"], percent)
        for line in curves
        for row in line.rows
    }
    shares = {row.point.removed: row.point.share for line in curves for row in line.rows}
    n = max(row.point.result.n for line in curves for row in line.rows if row.point.result)
    random = any(row.point.source == RANDOM for line in curves for row in line.rows)
    ranges = " Random: mean and range over the orders." if random else ""
    return Table(
        title=f"Accuracy without heads, {order}",
        note=f"Accuracy on {counted(n, 'example')} with its 95 % interval.{ranges}",
        columns=("Removed", *(line.name for line in curves)),
        rows=[
            (
                f"{removed} ({percent(shares[removed], 0)})",
                *(values.get((line.key, removed), MISSING) for line in curves),
            )
            for removed in sorted(shares)
        ],
    )


def _choice(database: Database, job: Job) -> list[Table]:
    choice = pruning.get_choice(database, job.id)
    if choice is None or choice.removed is None:
        return []
    searched = (choice.search_accuracy, choice.search_low, choice.search_high)
    held_out = (choice.held_out_accuracy, choice.held_out_low, choice.held_out_high)
    return [
        Table(
            title=f"The chosen cut: {counted(choice.removed, 'head')} removed",
            note=f"Accuracy may fall by {percentage_points(job.spec['within'])}. On the held-out "
            f"examples, this limit {'holds' if choice.verified else 'does not hold'}.",
            columns=("Examples", "n", "All heads", "Without them (95 %)"),
            rows=[
                (name, count(n), percent(whole), with_interval(accuracy, percent))
                for name, n, whole, accuracy in (
                    ("used to choose", choice.search_n, choice.search_whole, searched),
                    ("held out", choice.held_out_n, choice.held_out_whole, held_out),
                )
            ],
        )
    ]


PART = Part(
    question="How much accuracy is lost as heads are removed?",
    method=method,
    tables=tables,
)
