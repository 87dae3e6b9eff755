"""The form of a new job: prefilled from a preset or from another job, checked in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, redirect, render_template, request, url_for

from db import queries
from jobs.data import save_upload
from jobs.errors import InputError, Problem, refuse
from scheduler.presets import presets
from scheduler.submit import Checked, check, submit
from webui.web import clean, database, integer, settings

FILE_FIELDS = ("path",)
HUB_FIELDS = ("dataset", "config", "split", "revision")
ROW_FIELDS = ("text_columns", "label_column", "offset", "limit", "sample", "seed")
SPEC_FIELDS = ("max_length", "target", "output", "rtol", "max_points", "dtype", "device", "edges")
JOB_FIELDS = ("name", "priority")
FORM_FIELDS = frozenset(
    [
        "model.name",
        "model.revision",
        *(f"data.{name}" for name in (*FILE_FIELDS, *HUB_FIELDS, *ROW_FIELDS)),
        *SPEC_FIELDS,
        "integration",
        "keep_text",
        *JOB_FIELDS,
    ]
)
"""Fields that show their own problems; all others show at the top of the form."""

DEFAULTS: dict[str, str] = {
    "source": "file",
    "target": "predicted",
    "output": "probability",
    "rule": "auto",
    "points": "16",
    "rtol": "0.001",
    "max_points": "64",
    "dtype": "float32",
    "device": "auto",
    "edges": "16",
    "keep_text": "on",
    "data.offset": "0",
    "data.seed": "0",
    "priority": "0",
}

blueprint = Blueprint("new_job", __name__)


@blueprint.get("/jobs/new")
def show() -> str:
    """The form: empty, from a preset (?preset=), or a copy of another job (?clone=)."""
    known = presets(settings())
    name = request.args.get("preset", "")
    cloned = integer("clone", 0)
    values = dict(DEFAULTS)
    if cloned:
        job = queries.get_job(database(), cloned)
        raw = {"spec": job.spec, "name": job.name, "priority": job.priority}
        values |= to_form(raw)
    elif name:
        if name not in known:
            raise refuse("preset", name, "is unknown", f"Known: {', '.join(known)}.")
        values |= to_form(known[name])
    return _page(values, chosen=name, cloned=cloned)


@blueprint.post("/jobs/new")
def create() -> Response | tuple[str, int]:
    """Check and submit; on a problem the form again, with every problem at its field."""
    values = {name: clean(value) for name, value in request.form.items()}
    values.setdefault("keep_text", "")
    try:
        file = request.files.get("upload")
        if file is not None and file.filename:
            path = save_upload(cast(BinaryIO, file.stream), file.filename, settings())
            values |= {"source": "file", "data.path": str(path)}
        checked = check(to_submission(values), settings(), database())
    except InputError as error:
        return _page(values, problems=error.problems), 400
    if request.form.get("do") == "check":
        return _page(values, checked=checked), 200
    job_id = submit(checked, database())
    notice = "existing" if checked.existing_job == job_id else None
    return redirect(url_for("jobs.show", job_id=job_id, notice=notice), 303)  # type: ignore[return-value]


def to_submission(values: Mapping[str, str]) -> dict[str, Any]:
    """What the form's fields say, as a raw submission; empty fields mean the default.

    Numbers stay text: the specification reads them and names what is wrong with them.
    """

    def given(prefix: str, names: tuple[str, ...]) -> dict[str, Any]:
        found = {name: values.get(prefix + name, "").strip() for name in names}
        return {name: value for name, value in found.items() if value}

    source = HUB_FIELDS if values.get("source") == "hub" else FILE_FIELDS
    rule = values.get("rule", "auto")
    spec: dict[str, Any] = {
        "model": given("model.", ("name", "revision")),
        "data": given("data.", (*source, *ROW_FIELDS)),
        **given("", SPEC_FIELDS),
        "integration": rule if rule == "auto" else f"{rule}:{values.get('points', '').strip()}",
        "keep_text": bool(values.get("keep_text")),
    }
    return {"spec": spec, **given("", JOB_FIELDS)}


def to_form(raw: Mapping[str, Any]) -> dict[str, str]:
    """A raw submission as the form's fields."""
    spec = dict(raw.get("spec", {}))
    data = dict(spec.get("data", {}))
    rule, _, points = str(spec.pop("integration", "auto")).partition(":")
    values: dict[str, str] = {
        "rule": rule,
        "source": "hub" if data.get("dataset") else "file",
        "keep_text": "on" if spec.pop("keep_text", True) else "",
    }
    if points:
        values["points"] = points
    nested = {"model": spec.pop("model", {}), "data": data}
    for group, part in nested.items():
        values |= {f"{group}.{name}": _text(value) for name, value in dict(part).items()}
    values |= {name: _text(spec[name]) for name in SPEC_FIELDS if name in spec}
    return values | {name: _text(raw[name]) for name in JOB_FIELDS if name in raw}


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _page(
    values: Mapping[str, str],
    *,
    problems: tuple[Problem, ...] = (),
    checked: Checked | None = None,
    chosen: str = "",
    cloned: int = 0,
) -> str:
    by_field: dict[str, list[Problem]] = {}
    for problem in problems:
        by_field.setdefault(problem.field, []).append(problem)
    return render_template(
        "new_job.html",
        values=values,
        by_field=by_field,
        elsewhere=[problem for problem in problems if problem.field not in FORM_FIELDS],
        problems=problems,
        checked=checked,
        presets=presets(settings()),
        chosen=chosen,
        cloned=cloned,
        uploads_megabytes=settings().upload_megabytes,
        folders=settings().readable_folders,
    )
