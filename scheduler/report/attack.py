"""Attack jobs in reports."""

from __future__ import annotations

from db.database import Database
from db.reads import attack as attack_reads
from db.reads.jobs import Job
from jobs.formatting import count, percent
from jobs.kinds.attack import AttackSpec, TriggerKind
from jobs.specs.submission import parse_spec
from scheduler.figures.attack import models_of
from scheduler.report.base import Part, Table, with_interval


def method(job: Job) -> list[str]:
    """The triggers, their controls and their insertion."""
    spec = parse_spec(job.spec)
    assert isinstance(spec, AttackSpec)
    kinds = [name for name in ("random", "attention") if getattr(spec.controls, name)]
    beside = f" beside as many controls ({' and '.join(kinds)})" if kinds else ""
    return [
        "Triggers are tokens of pairs with the strongest attribution, by Hao et al. (2021), "
        f"section 5, put into other texts as {spec.insertion}{beside}. Success is the share "
        "of texts predicted right without the trigger and wrong with it; it and accuracies have "
        "Wilson's 95 % interval. The best of several is best partly by chance: read it beside the "
        "best of as many controls."
    ]


def tables(database: Database, job: Job) -> list[Table]:
    """The best trigger of every kind against each class, by model."""
    triggers = {one.number: one for one in attack_reads.list_triggers(database, job.id)}
    best = [one for one in attack_reads.get_results(database, job.id) if one.rank == 1]
    best.sort(key=lambda one: (one.sums.gold, list(TriggerKind).index(one.kind)))
    return [
        Table(
            title=f"The best triggers against {_short(name)}",
            note="Of each kind the trigger with the most success against each class, with 95 % "
            "intervals.",
            columns=("Class", "Kind", "Trigger", "n", "Before", "After", "Success"),
            words=3,
            rows=[
                (
                    job.labels[one.sums.gold],
                    one.kind.display_name,
                    triggers[one.sums.trigger].text,
                    count(one.sums.n),
                    *(
                        with_interval(ends, percent)
                        for ends in (one.accuracy_before, one.accuracy_after, one.success)
                    ),
                )
                for one in rows
            ],
        )
        for model, name in enumerate(models_of(job))
        if (rows := [one for one in best if one.sums.model == model])
    ]


def _short(model: str) -> str:
    """The last part of a model's name."""
    return model.rstrip("/").rsplit("/", 1)[-1]


PART = Part(
    question="Do tokens of strong attribution, put into other texts, change predictions?",
    method=method,
    tables=tables,
)
