"""Attack jobs: their page, one trigger's page, and attacks on a single text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, render_template, request

from db.reads import attack as attack_reads
from db.reads import jobs as job_reads
from db.reads import results
from db.reads.attack import StoredTrigger
from db.reads.jobs import Job
from headwise.attack.placing import placed
from jobs.errors import NotFoundError
from jobs.kinds.attack import TriggerKind, TriggerResult
from jobs.kinds.triggers import TriggerToken
from scheduler.figures.attack import models_of
from scheduler.submission.quick_jobs import attack_text, texts_again
from webui.accounts.permissions import READS, SUBMITS, Permission, Rule
from webui.api.models.kinds import (
    FlippedExample,
    OneTriggerAnswer,
    TriedAnswer,
    TriggerAnswer,
    TriggerOrigin,
    TriggerPage,
    TriggerResultAnswer,
)
from webui.context import choice, database, integer
from webui.contract import cursors
from webui.contract.models import PageQuery
from webui.contract.operations import operation
from webui.figures.shown import show
from webui.forms.controls import Controls
from webui.forms.quick_form import show_form, submit_form, wait_for
from webui.kinds.base import KindPage

BEST = 5
"""Triggers of a kind and class that are shown at first."""
SOURCES, FLIPPED = 20, 20

blueprint = Blueprint("attack", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"finished_jobs": lambda kind: attack_reads.list_finished(database(), kind)}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the table of a class."""

    trigger: StoredTrigger
    result: TriggerResult


@dataclass(frozen=True, kw_only=True)
class Strip:
    """The success of all triggers of a kind against a class, as shares."""

    dots: tuple[float, ...]
    mean: float


def section(job: Job) -> dict[str, Any]:
    """Values of an attack job's section; ?model= chooses one, ?triggers=all shows all."""
    opened = database()
    models = models_of(job)
    model = integer("model", 0, high=len(models) - 1)
    every = choice("triggers", ("all",)) == "all"
    triggers = attack_reads.list_triggers(opened, job.id)
    found = attack_reads.get_results(opened, job.id)
    own = [one for one in found if one.sums.model == model]
    classes = sorted({one.sums.gold for one in own})
    return {
        "sites": results.list_sites(opened, job.id),
        "provisional": not job.final,
        "models": models,
        "model": model,
        "every_trigger": every,
        "trigger_count": {
            kind.noun: sum(trigger.kind == kind for trigger in triggers) for kind in TriggerKind
        },
        "classes": [
            {
                "gold": gold,
                "strips": _strips(one for one in own if one.sums.gold == gold),
                "figure": show(
                    job,
                    "triggers",
                    {"label": str(gold), "model": str(model)},
                    key=f"triggers-{gold}",
                ),
                "lines": _lines(triggers, own, gold, None if every else BEST),
                "total": sum(one.sums.gold == gold and not one.kind.is_control for one in own),
            }
            for gold in classes
        ],
        "transfer": _transfer(triggers, found, len(models)),
    }


@blueprint.get("/jobs/<int(max=2147483647):job_id>/triggers/<int(max=2147483647):trigger_no>")
def trigger(job_id: int, trigger_no: int) -> str:
    """One trigger: its tokens, where it came from, what it and its controls do, what it flips."""
    opened = database()
    job = job_reads.get_job(opened, job_id)
    found = attack_reads.get_trigger(opened, job_id, trigger_no)
    triggers = attack_reads.list_triggers(opened, job_id)
    family = found.number if found.control_of is None else found.control_of
    alike = [t for t in triggers if family in (t.number, t.control_of)]
    by_number = {one.number: one for one in alike}
    rates = [
        Line(trigger=by_number[one.sums.trigger], result=one)
        for one in attack_reads.get_results(opened, job_id)
        if one.sums.model == 0 and one.sums.trigger in by_number
    ]
    rates.sort(key=lambda line: (line.result.sums.gold, line.trigger.number))
    return render_template(
        "trigger.html",
        job=job,
        trigger=found,
        rates=rates,
        flip_rows=[line.result.sums for line in rates if line.trigger.number == trigger_no],
        sources=attack_reads.list_sources(opened, job_id, family, SOURCES),
        flipped=[
            {**row, "probability": json.loads(row["probabilities"])[row["predicted"]]}
            for row in attack_reads.list_flipped(opened, job_id, trigger_no, FLIPPED)
        ],
    )


@blueprint.get("/api/v1/jobs/<int(max=2147483647):job_id>/triggers")
@operation("Results", TriggerPage)
def list_triggers(job_id: int, query: PageQuery) -> TriggerPage:
    """List the triggers of an attack job, each with its results."""
    job = job_reads.get_job(database(), job_id)
    found = attack_reads.list_triggers(database(), job_id)
    shown, following = cursors.slice_rows(found, query.cursor, query.limit)
    return TriggerPage(
        triggers=_answers(job_id, shown),
        total=len(found),
        provisional=not job.final,
        next=following,
    )


@blueprint.get(
    "/api/v1/jobs/<int(max=2147483647):job_id>/triggers/<int(max=2147483647):trigger_no>"
)
@operation("Results", OneTriggerAnswer)
def get_trigger(job_id: int, trigger_no: int) -> OneTriggerAnswer:
    """Get a trigger: where it came from, what it does, and what it flips."""
    opened = database()
    job_reads.get_job(opened, job_id)
    stored = attack_reads.get_trigger(opened, job_id, trigger_no)
    return OneTriggerAnswer(
        trigger=_answers(job_id, [stored])[0],
        sources=[
            TriggerOrigin(
                job=row["origin_job"],
                example=row["origin_example"],
                **{name: row[name] for name in ("score", "text_a", "text_b")},
            )
            for row in attack_reads.list_sources(opened, job_id, trigger_no, SOURCES)
        ],
        flipped=[
            FlippedExample(
                example=row["example_no"],
                probabilities=json.loads(row["probabilities"]),
                **{name: row[name] for name in ("gold", "predicted", "text_a", "text_b")},
            )
            for row in attack_reads.list_flipped(opened, job_id, trigger_no, FLIPPED)
        ],
    )


@blueprint.get("/api/v1/jobs/<int(max=2147483647):job_id>/tried")
@operation("Results", TriedAnswer)
def get_tried(job_id: int) -> TriedAnswer:
    """Get what the words of an attack on a single text did to it."""
    job = job_reads.get_job(database(), job_id)
    if job.kind != "attack" or not job.spec["given"]:
        raise NotFoundError(f"Job {job_id} is not an attack on a single text.")
    found = attack_reads.get_tried(database(), job_id)
    return TriedAnswer(**(vars(found) if found else dict.fromkeys(TriedAnswer.model_fields)))


def _answers(job_id: int, triggers: Sequence[StoredTrigger]) -> list[TriggerAnswer]:
    """Triggers of a job with their results."""
    found: dict[int, list[TriggerResultAnswer]] = {}
    for one in attack_reads.get_results(database(), job_id):
        values = {**vars(one), **vars(one.sums)}
        number = values.pop("trigger")
        del values["sums"], values["kind"]
        found.setdefault(number, []).append(TriggerResultAnswer(**values))
    rows = []
    for stored in triggers:
        values = dict(vars(stored))
        number = values.pop("number")
        rows.append(TriggerAnswer(trigger=number, results=found.get(number, []), **values))
    return rows


@blueprint.get("/attack/try")
def try_form() -> str:
    """The form of an attack on a single text; ?job= uses a job's model, ?trigger= the words of one
    of its triggers, ?clone= all values of an earlier attack."""
    values: dict[str, str] = {}
    cloned = integer("clone", 0)
    if chosen := cloned or integer("job", 0):
        job = job_reads.get_job(database(), chosen)
        values["model"] = job.spec["model"]["name"]
        if cloned and job.spec.get("given"):
            values["text"], values["second"] = texts_again(database(), job)
            values |= zip(_WORDS, map(" ".join, job.spec["given"][0]), strict=False)
            for name, places in zip(_POSITIONS, *job.spec.get("positions", [[]]), strict=False):
                values[name] = " ".join(f"{place:g}" for place in places)
        elif request.args.get("trigger"):
            found = attack_reads.get_trigger(database(), chosen, integer("trigger", 0))
            for segment, name in enumerate(_WORDS):
                own = [token.word for token in found.tokens if token.segment == segment]
                values[name] = " ".join(dict.fromkeys(own))
    return show_form("attack_try.html", values, cloned=cloned)


_WORDS = ("words", "second_words")
_POSITIONS = ("positions", "second_positions")


@blueprint.post("/attack/try")
def try_now() -> Response | tuple[str, int]:
    """Submit one text and one trigger, ahead of all waiting work."""
    return submit_form("attack_try.html", _submission, ".tried")


@blueprint.get("/attack/try/<int(max=2147483647):job_id>")
def tried(job_id: int) -> Response | str:
    """The probabilities before and after; until then a page that waits."""
    job = job_reads.get_job(database(), job_id)
    if job.kind != "attack" or not job.spec["given"]:
        raise NotFoundError(f"Job {job_id} is not an attack on a single text.")
    found = attack_reads.get_tried(database(), job_id)
    if found is not None:
        tokens = attack_reads.get_trigger(database(), job_id, 0).tokens
        return render_template(
            "attack_tried.html",
            job=job,
            tried=found,
            marked=[_marked(part, tokens, n) for n, part in enumerate(found.texts)],
        )
    return wait_for(job, "Trying your words")


def _submission(values: Mapping[str, str]) -> dict[str, Any]:
    texts = [values.get(name, "") for name in ("text", "second")]
    words = [values.get(name, "") for name in _WORDS]
    positions = [values.get(name, "") for name in _POSITIONS]
    return attack_text(values.get("model", ""), texts, words, positions)


def _marked(part: str, tokens: Sequence[TriggerToken], segment: int) -> list[tuple[str, bool]]:
    """A text with the words of a trigger in it: each word, and whether it was put in."""
    added = [((token.word, True), token.position) for token in tokens if token.segment == segment]
    return placed([(word, False) for word in part.split()], added)


def strips_by_class(job: Job) -> dict[tuple[str, str], Strip]:
    """The success of a job's triggers on its own model, by gold label and kind of trigger."""
    found = [one for one in attack_reads.get_results(database(), job.id) if one.sums.model == 0]
    return {
        (job.labels[gold], kind.display_name): strip
        for gold in sorted({one.sums.gold for one in found})
        for kind, strip in _strips([one for one in found if one.sums.gold == gold]).items()
    }


def _strips(found: Iterable[TriggerResult]) -> dict[TriggerKind, Strip]:
    success: dict[TriggerKind, list[float]] = {}
    for one in found:
        if one.success[0] is not None:
            success.setdefault(one.kind, []).append(one.success[0])
    return {
        kind: Strip(dots=tuple(success[kind]), mean=sum(success[kind]) / len(success[kind]))
        for kind in TriggerKind
        if kind in success
    }


def _lines(
    triggers: Sequence[StoredTrigger], found: Sequence[TriggerResult], gold: int, most: int | None
) -> list[Line]:
    """The best triggers against a class, controls left out."""
    own = [one for one in found if one.sums.gold == gold and not one.kind.is_control]
    own.sort(key=lambda one: (list(TriggerKind).index(one.kind), one.rank))
    return [Line(trigger=triggers[one.sums.trigger], result=one) for one in own[:most]]


def _transfer(
    triggers: Sequence[StoredTrigger], found: Sequence[TriggerResult], models: int
) -> list[dict[str, Any]]:
    """The success of each trigger and each kind over all classes, by model."""
    if models < 2:
        return []
    counts: dict[tuple[str | int, int], list[int]] = {}
    for one in found:
        for key in (one.kind, one.sums.trigger):
            total = counts.setdefault((key, one.sums.model), [0, 0])
            total[0] += sum(one.sums.flipped)
            total[1] += one.sums.before_correct

    def shares(key: str | int) -> list[float | None]:
        pairs = [counts.get((key, model), [0, 0]) for model in range(models)]
        return [flipped / correct if correct else None for flipped, correct in pairs]

    kinds = [kind for kind in TriggerKind if (kind, 0) in counts]
    rows = [{"name": f"all {kind.noun}s", "values": shares(kind)} for kind in kinds]
    own = [(t, shares(t.number)) for t in triggers if not t.kind.is_control]
    own.sort(key=lambda pair: -(pair[1][0] or 0.0))
    return rows + [{"name": t.text, "trigger": t.number, "values": v} for t, v in own[: 4 * BEST]]


def _read_given(values: Mapping[str, str]) -> list[list[list[str]]]:
    """Parse given triggers: one per line, with a bar between the parts for the two texts."""
    lines = [line for line in values.get("given", "").splitlines() if line.strip()]
    return [[part.split() for part in line.split("|")] for line in lines]


def _show_given(given: Sequence[Sequence[Sequence[str]]]) -> dict[str, str]:
    lines = (" | ".join(" ".join(part) for part in trigger) for trigger in given or ())
    return {"given": "\n".join(lines)}


def _read_models(values: Mapping[str, str]) -> list[dict[str, str]]:
    names = map(str.strip, values.get("models", "").splitlines())
    return [{"name": name} for name in names if name]


def _show_models(models: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {"models": "\n".join(model["name"] for model in models or ())}


PAGE = KindPage(
    title="Attack",
    lead="How predictions on your texts change when tokens found by an attribution job are "
    "inserted, compared with controls.",
    labels={
        "triggers_from": "Mined from",
        "rule.per_class": "Triggers per label, at most",
        "rule.label": "Assign triggers to",
        "rule.examples": "Examples",
        "rule.cells": "Cells",
        "rule.threshold": "Threshold",
        "rule.ratio": "Ratio",
        "rule.support": "Support",
        "rule.one_head": "All cells from the head that has the largest one",
        "given": "Or given triggers",
        "insertion": "Insert",
        "segments": "Into",
        "controls.random": "Random controls",
        "controls.seed": "Seed of the controls",
        "controls.attention": "Attention controls",
        "outcomes": "Store the prediction of every text with every trigger",
        "models": "Transfer to other models",
    },
    section=section,
    anchors=("triggers",),
    exports=(
        *("trigger_results", "triggers", "trigger_sources", "trigger_outcomes", "examples"),
        *("shards", "attempts"),
    ),
    question="SELECT kind, text, gold, n, accuracy_before, accuracy_after, success\n"
    "FROM trigger_results\nWHERE job_id = %d AND model = 0\nORDER BY gold, kind, rank",
    controls={
        "given": Controls(read=_read_given, show=_show_given),
        "models": Controls(read=_read_models, show=_show_models),
    },
    blueprint=blueprint,
    rules={
        **dict.fromkeys(("attack.trigger", "attack.list_triggers", "attack.tried"), READS),
        **dict.fromkeys(("attack.get_trigger", "attack.get_tried"), READS),
        "attack.try_form": SUBMITS,
        "attack.try_now": Rule(permission=Permission.SUBMIT, action="submit"),
    },
)
