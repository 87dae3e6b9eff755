"""The figure of attack jobs."""

from __future__ import annotations

from collections.abc import Mapping

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


def _choices(database: Database, job: Job) -> Choices:
    classes = sorted({one.sums.gold for one in attack_reads.get_results(database, job.id)})
    names = [name.rstrip("/").rsplit("/", 1)[-1] for name in models_of(job)]
    return {
        "label": {str(gold): job.labels[gold] for gold in classes},
        "model": {str(number): name for number, name in enumerate(names)},
    }


def _triggers(database: Database, job: Job, chosen: Mapping[str, str]) -> Figure:
    if not chosen["label"]:
        raise no_results(job)
    gold, model = int(chosen["label"]), int(chosen["model"])
    texts = {one.number: one.text for one in attack_reads.list_triggers(database, job.id)}
    found = [
        one
        for one in attack_reads.get_results(database, job.id)
        if (one.sums.gold, one.sums.model) == (gold, model) and one.rank <= MOST
    ]
    found.sort(key=lambda one: (list(TriggerKind).index(one.kind), one.rank))
    rows = [
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
    origin = source(job, max(one.sums.n for one in found), provisional=not job.final)
    return trigger_results(rows, job.labels[gold], [origin])


FIGURES = (FigureKind(name="triggers", title="Triggers", draw=_triggers, choices=_choices),)
