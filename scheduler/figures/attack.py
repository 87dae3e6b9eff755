"""The figure of attack jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from db.database import Database
from db.reads import attack as attack_reads
from db.reads.jobs import Job
from headwise.figures import Figure, trigger_results
from jobs.kinds.attack import TriggerKind
from scheduler.figures.base import Choices, FigureKind, no_results, source

MOST = 12
"""Triggers of each kind that are drawn, the best first; the table has all."""


def models_of(job: Job) -> list[str]:
    """The names of the models that a job tries its triggers on, its own first."""
    return [job.spec["model"]["name"], *(model["name"] for model in job.spec["models"])]


def trigger_rows(
    database: Database, job: Job, gold: int, model: int, most: int | None = None
) -> list[dict[str, Any]]:
    """The results of triggers against a class on a model: by kind, the best first.

    most: of each kind; None for all
    """
    texts = {one.number: one.text for one in attack_reads.list_triggers(database, job.id)}
    found = [
        one
        for one in attack_reads.get_results(database, job.id)
        if (one.sums.gold, one.sums.model) == (gold, model) and (most is None or one.rank <= most)
    ]
    found.sort(key=lambda one: (list(TriggerKind).index(one.kind), one.rank))
    return [
        {
            "number": one.sums.trigger,
            "trigger": texts[one.sums.trigger],
            "kind": one.kind.display_name,
            "n": one.sums.n,
            "accuracy_before": one.accuracy_before[0],
            "accuracy_after": one.accuracy_after[0],
            **dict(zip(("success", "success_low", "success_high"), one.success, strict=True)),
        }
        for one in found
    ]


def attacked_labels(database: Database, job: Job) -> dict[str, int]:
    """The classes that a job's triggers were tried on, in order, with their numbers."""
    classes = sorted({one.sums.gold for one in attack_reads.get_results(database, job.id)})
    return {job.labels[gold]: gold for gold in classes}


def _choices(database: Database, job: Job) -> Choices:
    names = [name.rstrip("/").rsplit("/", 1)[-1] for name in models_of(job)]
    return {
        "label": {str(gold): label for label, gold in attacked_labels(database, job).items()},
        "model": {str(number): name for number, name in enumerate(names)},
    }


def _triggers(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    if not chosen["label"]:
        raise no_results(job)
    gold, model = int(chosen["label"]), int(chosen["model"])
    rows = trigger_rows(database, job, gold, model, MOST)
    if not rows:
        raise no_results(job)
    origin = source(job, max(row["n"] for row in rows), provisional=not job.final)
    return trigger_results(rows, job.labels[gold], [origin])


FIGURES = (FigureKind(name="triggers", title="Triggers", draw=_triggers, choices=_choices),)
