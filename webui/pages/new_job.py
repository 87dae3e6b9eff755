"""The form of a new job: prefilled from a preset or from another job, checked in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, jsonify, render_template, request, url_for

from db.reads import jobs as job_reads
from jobs.errors import InputError, LimitError, Problem, nearest, refuse
from jobs.inputs.data import save_upload
from scheduler.submission.presets import presets
from scheduler.submission.recurring import add
from scheduler.submission.submit import Checked, check, submit
from webui.api.jobs import checked_json
from webui.context import choice, clean, database, integer, redirect, settings
from webui.kinds import pruning
from webui.kinds.forms import FORMS

FILE_FIELDS = ("path",)
HUB_FIELDS = ("dataset", "config", "split", "revision")
ROW_FIELDS = ("text_columns", "label_column", "offset", "limit", "sample", "seed")
DATA_FIELDS = (
    *("model.name", "model.revision"),
    *(f"data.{name}" for name in (*FILE_FIELDS, *HUB_FIELDS, *ROW_FIELDS)),
)
SPEC_FIELDS = ("max_length", "dtype", "device")
JOB_FIELDS = ("name", "priority", "deadline", "keep_days", "keep_details_days")

REPEAT_FIELDS = ("cron", "zone")

DEFAULTS: dict[str, str] = {
    "zone": "UTC",
    "source": "file",
    "dtype": "float32",
    "device": "auto",
    "keep_text": "on",
    "data.offset": "0",
    "data.seed": "0",
    "priority": "0",
}

blueprint = Blueprint("new_job", __name__)


@blueprint.get("/jobs/new")
def show() -> str:
    """The form of a ?kind=: empty, from a preset (?preset=), a copy of a job (?clone=), or to
    prune by the rankings of a job (?from=)."""
    known = presets(settings())
    name = request.args.get("preset", "")
    cloned = integer("clone", 0)
    raw: Mapping[str, Any] = {"spec": {"kind": choice("kind", FORMS, "attribution")}}
    if cloned:
        job = job_reads.get_job(database(), cloned)
        raw = {"spec": job.spec, "name": job.name, "priority": job.priority}
    elif source := integer("from", 0):
        raw = pruning.started_from(job_reads.get_job(database(), source))
    elif name:
        if name not in known:
            raise refuse("preset", name, "is unknown", f"Known: {', '.join(known)}.")
        raw = known[name]
    values = to_form(raw)
    return _page(defaults(values["kind"]) | values, chosen=name, cloned=cloned)


@blueprint.post("/jobs/new")
def create() -> Response | tuple[str, int]:
    """Check and submit; on a problem the form again, with every problem at its field."""
    values = _given()
    try:
        values = with_upload(values)
        checked = check(to_submission(values), settings(), database())
        if request.form.get("do") == "check":
            return _page(values, checked=checked), 200
        if values.get("cron", "").strip():
            repeated = {**filled(values, "", REPEAT_FIELDS), "submission": to_submission(values)}
            add(repeated, settings(), database())
            return redirect(url_for("recurring.index"))
        job_id = submit(checked, database())
    except InputError as error:
        status = 429 if isinstance(error, LimitError) else 400
        return _page(values, problems=error.problems), status
    notice = {checked.existing_job: "existing", checked.same_as: "same"}.get(job_id)
    return redirect(url_for("jobs.show", job_id=job_id, notice=notice))


@blueprint.post("/jobs/new/check")
def check_form() -> Response:
    """What the form's fields come to, while it is filled in; as the API's check."""
    return jsonify(checked_json(check(to_submission(_given()), settings(), database())))


def to_submission(values: Mapping[str, str]) -> dict[str, Any]:
    """What the form's fields say, as a raw submission; empty fields mean the default.

    Numbers stay text: the specification reads them and names what is wrong with them.
    """
    kind = _kind(values.get("kind", "attribution"))
    spec: dict[str, Any] = {
        "kind": kind,
        **model_and_data(values),
        **filled(values, "", (*SPEC_FIELDS, *FORMS[kind].fields)),
        **FORMS[kind].read(values),
        "keep_text": bool(values.get("keep_text")),
    }
    again = {"again": True} if values.get("again") else {}
    return {"spec": spec, **filled(values, "", JOB_FIELDS), **again}


def model_and_data(values: Mapping[str, str]) -> dict[str, Any]:
    """What the fields of `new_data.html` say."""
    source = HUB_FIELDS if values.get("source") == "hub" else FILE_FIELDS
    return {
        "model": filled(values, "model.", ("name", "revision")),
        "data": filled(values, "data.", (*source, *ROW_FIELDS)),
    }


def filled(values: Mapping[str, str], prefix: str, names: tuple[str, ...]) -> dict[str, str]:
    """The fields of these names that are not empty."""
    found = {name: values.get(prefix + name, "").strip() for name in names}
    return {name: value for name, value in found.items() if value}


def with_upload(values: dict[str, str]) -> dict[str, str]:
    """The fields with the path of the file that came with them, if one did."""
    file = request.files.get("upload")
    if file is None or not file.filename:
        return values
    path = save_upload(cast(BinaryIO, file.stream), file.filename, settings())
    return {**values, "source": "file", "data.path": str(path)}


def to_form(raw: Mapping[str, Any]) -> dict[str, str]:
    """A raw submission as the form's fields."""
    spec = dict(raw.get("spec", {}))
    kind = _kind(spec.get("kind", "attribution"))
    data = dict(spec.get("data", {}))
    values: dict[str, str] = {
        "kind": kind,
        **FORMS[kind].show(spec),
        "source": "hub" if data.get("dataset") else "file",
        "keep_text": "on" if spec.get("keep_text", True) else "",
    }
    nested = {"model": spec.pop("model", {}), "data": data}
    for group, part in nested.items():
        values |= {f"{group}.{name}": _text(value) for name, value in dict(part).items()}
    plain = (*SPEC_FIELDS, *FORMS[kind].fields)
    values |= {name: _text(spec[name]) for name in plain if name in spec}
    return values | {name: _text(raw[name]) for name in JOB_FIELDS if name in raw}


def _given() -> dict[str, str]:
    return {"keep_text": "", **{name: clean(value) for name, value in request.form.items()}}


def _kind(name: str) -> str:
    if name not in FORMS:
        raise refuse("kind", name, "is no kind of job that has a form", nearest(name, FORMS))
    return name


def defaults(kind: str) -> dict[str, str]:
    """The fields of an empty form."""
    return {**DEFAULTS, **FORMS[kind].defaults}


def _shown_at_their_field(kind: str) -> frozenset[str]:
    """Fields that show their own problems; all others show at the top of the form."""
    own = (*SPEC_FIELDS, *FORMS[kind].fields, *FORMS[kind].others, *JOB_FIELDS, *REPEAT_FIELDS)
    return frozenset([*DATA_FIELDS, *own, "keep_text"])


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _presets(kind: str) -> list[str]:
    found = presets(settings()).items()
    return [name for name, raw in found if raw["spec"].get("kind", "attribution") == kind]


def _page(
    values: Mapping[str, str],
    *,
    problems: tuple[Problem, ...] = (),
    checked: Checked | None = None,
    chosen: str = "",
    cloned: int = 0,
) -> str:
    kind = _kind(values.get("kind", "attribution"))
    own = _shown_at_their_field(kind)
    by_field: dict[str, list[Problem]] = {}
    for problem in problems:
        by_field.setdefault(problem.field, []).append(problem)
    return render_template(
        "new_job.html",
        kind=kind,
        form=FORMS[kind],
        forms=FORMS,
        values=values,
        by_field=by_field,
        elsewhere=[problem for problem in problems if problem.field not in own],
        problems=problems,
        checked=checked,
        presets=_presets(kind),
        chosen=chosen,
        cloned=cloned,
        retention=settings().retention,
        uploads_megabytes=settings().upload_megabytes,
        folders=settings().readable_folders,
    )
