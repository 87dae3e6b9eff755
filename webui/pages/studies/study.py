"""Studies: their list, the form of a new one, the page of what one found, and two compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from flask import Blueprint, Response, abort, render_template, request, url_for

from db.reads import studies
from db.reads.studies import StudyRow
from jobs.errors import InputError
from jobs.specs.fields import fields_of
from jobs.specs.submission import Submission
from jobs.states import JobState
from jobs.study import PARTS, StudySpec
from scheduler.comparison.sides import sides_of_studies
from scheduler.findings import findings
from scheduler.report import pdf
from scheduler.serializers import checked_study_json
from scheduler.submission.study import (
    ACTIONS,
    CheckedStudy,
    check_study,
    control_study,
    restart_study,
    submit_study,
)
from webui.context import clean, database, integer, redirect, settings
from webui.forms import controls
from webui.forms.choices import Filled, open_or_take, with_head
from webui.forms.known_models import known_models
from webui.forms.labels import LABELS
from webui.pages.jobs import new_job
from webui.pages.results import comparison
from webui.pages.studies import sections
from webui.pages.studies.picture import picture
from webui.polling import conditional, jobs_version

PAGE = 25
FIELDS = (
    *("examples", "evaluation_examples", "target", "rtol", "steps", "random", "within"),
    *("triggers", "max_length", "dtype", "device"),
)
"""Fields of a study besides its model, its data and its parts."""
SHOWN = {
    *(*new_job.MODEL_AND_DATA, *FIELDS, "name", "queue", "evaluation.path", "parts"),
    *("model", "data", "file"),
}
"""Fields that the form has a place for problems of."""
STUDY_LABELS = {
    **LABELS,
    "examples": "Rows for ranking",
    "evaluation_examples": "Rows for evaluation, at most",
    "evaluation.path": "Or evaluate on another file",
    "parts": "Parts",
    "rtol": "Tolerance (rtol)",
    "target": "Target label",
    "steps": "Steps",
    "random": "Random orders",
    "within": "Accuracy loss allowed",
    "triggers": "Triggers",
}

blueprint = Blueprint("studies", __name__)


@blueprint.get("/studies")
def index() -> str:
    """The list of studies."""
    page = integer("page", 1, low=1, high=1_000_000)
    total = studies.count_studies(database())
    found = studies.list_studies(database(), PAGE, (page - 1) * PAGE)
    return render_template(
        "studies.html",
        studies=found,
        total=total,
        page=page,
        pages=max(1, math.ceil(total / PAGE)),
        live=any(not study.final for study in found) or not found,
    )


def _version(study: int) -> object:
    return jobs_version(list(studies.get_study(database(), study).steps.values()))


@blueprint.get("/studies/<int(max=2147483647):study>")
@conditional(_version)
def show(study: int) -> str:
    """A study: its steps, and what they found so far."""
    found = studies.get_study(database(), study)
    jobs = sections.jobs_of(found)
    return render_template(
        "study.html",
        study=found,
        jobs=jobs,
        picture=picture(jobs),
        allowed=allowed(found),
        pdf_reports=pdf.available(),
        others=[one for one in studies.list_studies(database(), 50) if one.id != study],
        **sections.sections(study, jobs),
    )


@blueprint.post("/studies/<int(max=2147483647):study>/<action>")
def act(study: int, action: str) -> Response:
    """Pause, resume or cancel; `restart` submits it once more, and goes to that one."""
    if action == "restart":
        study = restart_study(study, settings(), database()).study
    elif action in ACTIONS:
        control_study(database(), study, action)
    else:
        abort(404)
    return redirect(url_for(".show", study=study))


@blueprint.get("/studies/compare")
def compare() -> str:
    """Two studies, ?a= and ?b=, side by side."""
    a, b = (integer(name, 0) for name in ("a", "b"))
    sides = sides_of_studies(database(), (a, b))
    address = partial(url_for, "figure_api.get_figure_of_studies", a=a, b=b)
    found = {side.number: findings(database(), side.steps) for side in sides}
    return render_template("compare.html", findings=found, **comparison.sections(sides, address))


@blueprint.get("/studies/new")
def form() -> str:
    """The form of a new study."""
    return _page(Filled(values=_defaults()))


@blueprint.post("/studies/new")
def create() -> Response | tuple[str, int]:
    """Check and submit; on a problem the form again, with every problem at its field."""
    values, do = _given(), request.form.get("do", "")
    filled = Filled(values=values)
    try:
        values = new_job.with_upload(values)
        if chosen := open_or_take(do, values, settings()):
            return _page(with_head(chosen, settings())), 200
        filled = with_head(Filled(values=values), settings(), guess=do == "check")
        checked = check_study(to_study(filled.values), settings(), database())
    except InputError as error:
        filled = replace(with_head(filled, settings()), problems=error.problems)
        return _page(filled), 400
    if do == "check":
        return _page(filled, checked=checked), 200
    study = submit_study(checked, database()).study
    return redirect(url_for(".show", study=study))


@blueprint.post("/studies/new/check")
def check_form() -> Response:
    """Check the form while it is filled in: what the API's check answers, or `problems`."""
    values = _given()
    return new_job.while_typing(
        lambda: new_job.checked_answer(
            check_study(to_study(values), settings(), database()), checked_study_json
        ),
        lambda found: controls.as_shown(new_job.of_source(found, values), SHOWN, STUDY_LABELS),
    )


def allowed(study: StudyRow) -> tuple[str, ...]:
    """The actions that a study allows now."""
    if study.final:
        return () if study.state is JobState.SUCCEEDED else ("restart",)
    if study.state is JobState.CANCELLING:
        return ()
    return ("resume" if study.state is JobState.PAUSED else "pause", "cancel")


def to_study(values: Mapping[str, str]) -> dict[str, Any]:
    """The raw study of a form's values; empty fields mean the default."""
    unused = new_job.other_source(values)
    names = [name for name in (*new_job.MODEL_AND_DATA, *FIELDS) if name not in unused]
    raw = controls.read(StudySpec, values, names)
    raw["parts"] = [part for part in PARTS if values.get(f"parts.{part}")]
    if path := values.get("evaluation.path", "").strip():
        columns = {key: raw["data"].get(key) for key in ("text_columns", "label_column")}
        raw["evaluation"] = {"path": path, **{k: v for k, v in columns.items() if v}}
    queue = values.get("queue", "").strip()
    named = {"name": values.get("name", "").strip(), **({"queue": queue} if queue else {})}
    return {**named, "spec": raw}


def _given() -> dict[str, str]:
    return {name: clean(value) for name, value in request.form.items()}


def _defaults() -> dict[str, str]:
    """The values of an empty form: every part but the one that takes long."""
    parts = {f"parts.{part}": "on" for part in PARTS if part != "leave-one-out"}
    own = controls.defaults(StudySpec, (*new_job.MODEL_AND_DATA, *FIELDS))
    return {"source": "file", "queue": settings().queue, **own, **parts}


def _page(filled: Filled, *, checked: CheckedStudy | None = None) -> str:
    values = filled.values
    return render_template(
        "new_study.html",
        values=values,
        fields={**fields_of(Submission), **fields_of(StudySpec)},
        filled=filled,
        carried={},
        models=known_models(),
        **controls.problems_by_field(
            new_job.of_source(filled.problems, values), SHOWN, STUDY_LABELS
        ),
        checked=checked,
        parts=PARTS,
        uploads_megabytes=settings().upload_megabytes,
        folders=settings().readable_folders,
    )
