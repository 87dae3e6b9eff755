"""The form of a new job, filled in from a preset or from another job, and checked as one types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, jsonify, render_template, request, url_for

from db.reads import jobs as job_reads
from jobs.errors import InputError, LimitError, Problem, nearest, refuse
from jobs.inputs.uploads import save_upload
from jobs.kinds import DEFAULT, SPECS
from jobs.recurring import Recurring
from jobs.specs.submission import Submission
from scheduler.serializers import checked_json
from scheduler.submission.presets import presets
from scheduler.submission.quick_jobs import is_quick
from scheduler.submission.recurring import add
from scheduler.submission.submit import Checked, check, submit
from webui import forms
from webui.api.uploads import preview_file
from webui.context import choice, clean, database, integer, problem_json, redirect, settings
from webui.forms import problems_by_field
from webui.kinds import PAGES, pruning

HUB_FIELDS = ("data.dataset", "data.config", "data.split", "data.revision")
MODEL_AND_DATA = (
    *("model.name", "model.revision", "data.path", *HUB_FIELDS, "data.text_columns"),
    *("data.label_column", "data.offset", "data.limit", "data.sample", "data.seed"),
)
"""Fields of `new_data.html`."""
JOB_FIELDS = ("name", "priority", "deadline", "keep_days", "keep_details_days")
REPEAT_FIELDS = ("cron", "zone")

blueprint = Blueprint("new_job", __name__)


@blueprint.get("/jobs/new")
def show() -> Response | str:
    """Show the form of a ?kind=.

    It is empty, or filled in from a preset (?preset=), from a job to copy (?clone=), or from a job
    to prune by (?from=).
    """
    known = presets(settings())
    name = request.args.get("preset", "")
    cloned = integer("clone", 0)
    raw: Mapping[str, Any] = {"spec": {"kind": choice("kind", PAGES, DEFAULT)}}
    if cloned:
        job = job_reads.get_job(database(), cloned)
        if is_quick(job):
            form = "explain.show" if job.kind == "attribution" else "attack.try_form"
            return redirect(url_for(form, clone=cloned))
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
    """Check and submit; show the form again with every problem at its field, if there is one."""
    values = _given()
    try:
        values = with_upload(values)
        checked = check(to_submission(values), settings(), database())
        if request.form.get("do") == "check":
            return _page(values, checked=checked), 200
        if values.get("cron", "").strip():
            times = forms.read(Recurring, values, REPEAT_FIELDS)
            repeated = {**times, "submission": to_submission(values)}
            add(repeated, settings(), database())
            return redirect(url_for("recurring.index"))
        job_id = submit(checked, database())
    except InputError as error:
        status = 429 if isinstance(error, LimitError) else 400
        return _page(values, problems=error.problems), status
    notice = {checked.existing_job: "existing", checked.same_as: "same"}.get(job_id)
    return redirect(url_for("jobs.show", job_id=job_id, notice=notice))


def while_typing(view: Callable[[], Response]) -> Callable[[], Response]:
    """Answer problems with status 200: a form that is half filled in is no error.

    Browsers write any other status into their console, once for every pause in typing.
    """

    @wraps(view)
    def answer() -> Response:
        try:
            return view()
        except InputError as error:
            return jsonify({"problems": [problem_json(problem) for problem in error.problems]})

    return answer


@blueprint.post("/jobs/new/check")
@while_typing
def check_form() -> Response:
    """Check the form while it is filled in: what the API's check answers, or `problems`."""
    return jsonify(checked_json(check(to_submission(_given()), settings(), database())))


@blueprint.post("/jobs/new/preview")
@while_typing
def preview() -> Response:
    """Show the head of the data file as the API's preview does, or answer `problems`."""
    return preview_file()


def to_submission(values: Mapping[str, str]) -> dict[str, Any]:
    """The raw submission of a form's values; empty fields mean the default."""
    kind = _kind(values.get("kind", DEFAULT))
    unused = other_source(values)
    names = [name for name in spec_fields(kind) if name not in unused]
    spec = {"kind": kind, **forms.read(SPECS[kind], values, names, PAGES[kind].controls)}
    again = {"again": True} if values.get("again") else {}
    return {"spec": spec, **forms.read(Submission, values, JOB_FIELDS), **again}


def other_source(values: Mapping[str, str]) -> tuple[str, ...]:
    """The fields of the source of data that is not chosen."""
    return ("data.path",) if values.get("source") == "hub" else HUB_FIELDS


def spec_fields(kind: str) -> list[str]:
    """The fields of a kind's specification that its form has."""
    own = [
        name
        for name in forms.fields_of(SPECS[kind])
        if name not in ("version", "kind") and name.partition(".")[0] not in ("model", "data")
    ]
    return [*MODEL_AND_DATA, *own]


def with_upload(values: dict[str, str]) -> dict[str, str]:
    """The values with the path of the uploaded file, if there is one."""
    file = request.files.get("upload")
    if file is None or not file.filename:
        return values
    path = save_upload(cast(BinaryIO, file.stream), file.filename, settings())
    return {**values, "source": "file", "data.path": str(path)}


def to_form(raw: Mapping[str, Any]) -> dict[str, str]:
    """The values of the form from a raw submission."""
    spec = raw.get("spec", {})
    kind = _kind(spec.get("kind", DEFAULT))
    return {
        "kind": kind,
        "source": "hub" if spec.get("data", {}).get("dataset") else "file",
        **forms.show(spec, spec_fields(kind), PAGES[kind].controls),
        **forms.show(raw, JOB_FIELDS),
    }


def defaults(kind: str) -> dict[str, str]:
    """The values of an empty form."""
    return {
        "source": "file",
        **forms.defaults(SPECS[kind], spec_fields(kind), PAGES[kind].controls),
        **forms.defaults(Submission, JOB_FIELDS),
        **forms.defaults(Recurring, REPEAT_FIELDS),
    }


def _given() -> dict[str, str]:
    return {name: clean(value) for name, value in request.form.items()}


def _kind(name: str) -> str:
    if name not in PAGES:
        raise refuse("kind", name, "is no kind of job that has a form", nearest(name, PAGES))
    return name


def _presets(kind: str) -> list[str]:
    found = presets(settings()).items()
    return [name for name, raw in found if raw["spec"].get("kind", DEFAULT) == kind]


def _page(
    values: Mapping[str, str],
    *,
    problems: tuple[Problem, ...] = (),
    checked: Checked | None = None,
    chosen: str = "",
    cloned: int = 0,
) -> str:
    kind = _kind(values.get("kind", DEFAULT))
    fields = {
        **forms.fields_of(Recurring),
        **forms.fields_of(Submission),
        **forms.fields_of(SPECS[kind]),
    }
    shown = {*spec_fields(kind), *JOB_FIELDS, *REPEAT_FIELDS}
    return render_template(
        "new_job.html",
        kind=kind,
        pages=PAGES,
        fields=fields,
        values=values,
        **problems_by_field(problems, shown),
        checked=checked,
        presets=_presets(kind),
        chosen=chosen,
        cloned=cloned,
        retention=settings().retention,
        uploads_megabytes=settings().upload_megabytes,
        folders=settings().readable_folders,
    )
