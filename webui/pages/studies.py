"""Studies: their list, the form of a new one, the page of what one found, and two compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, abort, jsonify, render_template, request, url_for

from db.reads import studies
from db.reads.studies import StudyRow
from jobs.errors import InputError, Problem
from jobs.states import JobState
from jobs.study import PARTS, StudySpec
from scheduler.serializers import checked_study_json
from scheduler.submission.study import (
    ACTIONS,
    CheckedStudy,
    check_study,
    control_study,
    restart_study,
    submit_study,
)
from webui import forms
from webui.context import clean, database, integer, redirect, settings
from webui.pages import new_job, study_sections
from webui.polling import conditional, jobs_version

PAGE = 25
FIELDS = (
    *("examples", "evaluation_examples", "target", "rtol", "steps", "random", "within"),
    *("triggers", "max_length", "dtype", "device"),
)
"""Fields of a study besides its model, its data and its parts."""

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
    jobs = study_sections.jobs_of(found)
    return render_template(
        "study.html",
        study=found,
        jobs=jobs,
        allowed=allowed(found),
        others=[one for one in studies.list_studies(database(), 50) if one.id != study],
        **study_sections.sections(jobs),
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
    """Two studies, ?a= and ?b=, side by side; ?source= chooses the ranking of the scatter."""
    a, b = (studies.get_study(database(), integer(name, 0)) for name in ("a", "b"))
    return render_template("study_compare.html", **study_sections.comparison(a, b))


@blueprint.get("/studies/new")
def form() -> str:
    """The form of a new study."""
    return _page(_defaults())


@blueprint.post("/studies/new")
def create() -> Response | tuple[str, int]:
    """Check and submit; on a problem the form again, with every problem at its field."""
    values = _given()
    try:
        values = new_job.with_upload(values)
        checked = check_study(to_study(values), settings(), database())
    except InputError as error:
        return _page(values, problems=error.problems), 400
    if request.form.get("do") == "check":
        return _page(values, checked=checked), 200
    study = submit_study(checked, database()).study
    return redirect(url_for(".show", study=study))


@blueprint.post("/studies/new/check")
@new_job.while_typing
def check_form() -> Response:
    """Check the form while it is filled in: what the API's check answers, or `problems`."""
    return jsonify(checked_study_json(check_study(to_study(_given()), settings(), database())))


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
    raw = forms.read(StudySpec, values, names)
    raw["parts"] = [part for part in PARTS if values.get(f"parts.{part}")]
    if path := values.get("evaluation.path", "").strip():
        columns = {key: raw["data"].get(key) for key in ("text_columns", "label_column")}
        raw["evaluation"] = {"path": path, **{k: v for k, v in columns.items() if v}}
    return {"name": values.get("name", "").strip(), "spec": raw}


def _given() -> dict[str, str]:
    return {name: clean(value) for name, value in request.form.items()}


def _defaults() -> dict[str, str]:
    """The values of an empty form: every part but the one that takes long."""
    parts = {f"parts.{part}": "on" for part in PARTS if part != "leave-one-out"}
    own = forms.defaults(StudySpec, (*new_job.MODEL_AND_DATA, *FIELDS))
    return {"source": "file", **own, **parts}


def _page(
    values: Mapping[str, str],
    *,
    problems: tuple[Problem, ...] = (),
    checked: CheckedStudy | None = None,
) -> str:
    shown = {*new_job.MODEL_AND_DATA, *FIELDS, "name", "evaluation.path", "parts"}
    return render_template(
        "new_study.html",
        values=values,
        fields=forms.fields_of(StudySpec),
        **forms.problems_by_field(problems, shown),
        checked=checked,
        parts=PARTS,
        uploads_megabytes=settings().upload_megabytes,
        folders=settings().readable_folders,
    )
