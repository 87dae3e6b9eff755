"""The text lab: texts side by side with what a classifier made of each.

Each column is an attribution job of one text, first in the queue; the address has their numbers, so
that columns stay and can be shared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for

from db.reads import attack as attack_reads
from db.reads import job_list
from db.reads import jobs as job_reads
from db.reads.attack import StoredTrigger
from db.reads.jobs import Job
from headwise.attack.placing import words_into
from jobs.errors import InputError, Problem, refuse
from scheduler.figures.examples import TREE_CHOICES
from scheduler.submission.quick_jobs import explain_text, texts_again
from scheduler.submission.submit import check, submit
from webui.context import attachment, choice, clean, database, integer, redirect, settings, words
from webui.figures.shown import TITLES
from webui.forms.known_models import known_models
from webui.forms.quick_form import typed
from webui.pages.lab.columns import Column, column_of, compare, export_of

MOST = 6
"""Columns side by side."""
ATTACKS, TRIGGERS = 50, 8
"""Attack jobs that are looked at for triggers, and triggers that are offered."""
FIELDS = ("model", "text", "second", "target")

blueprint = Blueprint("lab", __name__)


@blueprint.get("/lab")
def show() -> str:
    """The columns of ?jobs=, compared with that of ?base=, and the editor.

    ?edit= fills the editor with a column's text, ?job= with a job's model; ?trigger=JOB.NUMBER puts
    the words of a trigger into the text.
    """
    numbers = _numbers(request.args.get("jobs", ""))
    return _page(numbers, _editor(numbers))


@blueprint.post("/lab")
def create() -> Response | tuple[str, int]:
    """Explain the text in a column beside the others; on a problem show the lab again."""
    values = typed()
    numbers = _numbers(values.get("jobs", ""))
    base = integer("base", numbers[0] if numbers else 0, source=values)
    texts = [values.get(name, "") for name in ("text", "second")]
    try:
        raw = explain_text(values.get("model", ""), texts, values.get("target", ""))
        job_id = submit(check(raw, settings(), database()), database())
    except InputError as error:
        return _page(numbers, values, error.problems), 400
    if job_id not in numbers:
        numbers = [*_with_place(numbers, base), job_id]
    shown = ",".join(map(str, numbers))
    place: dict[str, Any] = {"base": base or None, "at": values.get("at") or None, **_chosen_tree()}
    return redirect(url_for(".show", jobs=shown, **place))


@blueprint.get("/lab/export.json")
def export() -> Response:
    """The columns of ?jobs= as a file."""
    found = [column_of(_one_text(number), {}) for number in _numbers(words("jobs"))]
    body = json.dumps([export_of(column) for column in found], ensure_ascii=False, indent=1)
    return attachment(body, "application/json", "headwise-lab.json")


@blueprint.get("/explain")
def old_form() -> Response:
    """Lead from the address of earlier releases."""
    edit = integer("clone", 0) or None
    return redirect(url_for(".show", job=integer("job", 0) or None, jobs=edit, edit=edit), 308)


@blueprint.get("/explain/<int(max=2147483647):job_id>")
def old_result(job_id: int) -> Response:
    """Lead from the address of earlier releases."""
    return redirect(url_for(".show", jobs=job_id), 308)


def _numbers(raw: str) -> list[int]:
    """The numbers of the columns. Raises InputError."""
    parts = [part for part in clean(raw).replace(" ", "").split(",") if part]
    good = all(part.isdecimal() and len(part) < 10 for part in parts)
    found = list(dict.fromkeys(map(int, parts))) if good else []
    if not good or len(found) > MOST:
        raise refuse("jobs", raw, f"must be at most {MOST} numbers of jobs", "Such as jobs=5,42.")
    return found


def _one_text(number: int) -> Job:
    """An attribution job of one text. Raises InputError for others, NotFoundError."""
    job = job_reads.get_job(database(), number)
    if job.kind != "attribution" or job.examples != 1:
        remedy = "Open its examples on its own page."
        raise refuse("jobs", number, "is not a job that explains a single text", remedy)
    return job


def _with_place(numbers: Sequence[int], base: int) -> list[int]:
    """The columns without the oldest one that is not pinned, where there is no place for more."""
    if len(numbers) < MOST:
        return list(numbers)
    oldest = next(number for number in numbers if number != base)
    return [number for number in numbers if number != oldest]


def _editor(numbers: Sequence[int]) -> dict[str, str]:
    """The values of the editor: by default those of the last column."""
    values = {"target": "predicted"}
    chosen = integer("edit", 0) or (numbers[-1] if numbers else 0)
    if not chosen:
        if number := integer("job", 0):
            values["model"] = job_reads.get_job(database(), number).spec["model"]["name"]
        return values
    job = _one_text(chosen)
    first, second = texts_again(database(), job)
    values |= {"model": job.spec["model"]["name"], "text": first, "second": second}
    values["target"] = job.spec.get("target", "predicted")
    if asked := words("trigger"):
        values |= _with_trigger(values, asked)
    return values


def _with_trigger(values: Mapping[str, str], asked: str) -> dict[str, str]:
    """The texts of the editor with the words of a trigger put in. Raises InputError."""
    source = dict(zip(("job", "number"), asked.split("."), strict=False))
    job, number = (integer(name, 0, source=source) for name in ("job", "number"))
    tokens = attack_reads.get_trigger(database(), job, number).tokens
    found = {}
    for segment, name in enumerate(("text", "second")):
        own = [(token.word, token.position) for token in tokens if token.segment == segment]
        if own and values[name]:
            found[name] = words_into(values[name], own)
    return found


def _triggers(model: str) -> list[tuple[Job, StoredTrigger]]:
    """Mined triggers of the newest attack jobs on a model, the strongest of each first."""
    if not model:
        return []
    wanted = job_list.JobFilter(kind="attack")
    found: list[tuple[Job, StoredTrigger]] = []
    for job in job_list.list_jobs(database(), wanted, limit=ATTACKS):
        if job.spec["model"]["name"] != model or len(found) >= TRIGGERS:
            continue
        mined = attack_reads.list_triggers(database(), job.id)
        found += [(job, one) for one in mined if one.tokens and not one.kind.is_control]
    return found[:TRIGGERS]


def _page(
    numbers: Sequence[int], values: Mapping[str, str], problems: Sequence[Problem] = ()
) -> str:
    tree = _tree()
    columns = [column_of(_one_text(number), tree) for number in numbers]
    base = integer("base", numbers[0] if numbers else 0)
    pinned = next((column for column in columns if column.job.id == base), None)
    models = known_models()
    values = {"model": next(iter(models), ""), **values}
    return render_template(
        "lab.html",
        columns=columns,
        waiting=any(not column.ready for column in columns),
        differences=_differences(columns, pinned),
        tree=tree,
        chosen_tree=_chosen_tree(),
        tree_choices=TREE_CHOICES,
        titles=TITLES,
        base=base,
        most=MOST,
        numbers=",".join(map(str, numbers)),
        without=lambda number: ",".join(str(one) for one in numbers if one != number),
        values=values,
        models=models,
        problems=problems,
        at_fault={problem.field for problem in problems},
        triggers=_triggers(values["model"]),
    )


def _chosen_tree() -> dict[str, str]:
    """The choices for trees that the request makes, for the addresses that it leads to."""
    return {name: value for name in TREE_CHOICES if (value := request.values.get(name))}


def _tree() -> dict[str, str]:
    """The choices for the trees of all columns, which are compared. Raises InputError."""
    return {name: choice(name, known, next(iter(known))) for name, known in TREE_CHOICES.items()}


def _differences(columns: Sequence[Column], pinned: Column | None) -> dict[int, Any]:
    """By job, the differences of its column from the pinned one."""
    if pinned is None or not pinned.ready:
        return {}
    return {
        column.job.id: compare(pinned, column)
        for column in columns
        if column is not pinned and column.ready
    }
