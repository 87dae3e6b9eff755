"""The form of a new job, filled in from a preset or from another job, and checked as one types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, TypeVar, cast

from flask import Blueprint, Response, jsonify, render_template, request, url_for

from db.reads import jobs as job_reads
from jobs.errors import InputError, LimitError, Problem, nearest, refuse
from jobs.inputs.data.uploads import save_upload
from jobs.kinds import DEFAULT, SPECS
from jobs.people import highest_priority
from jobs.scheduling.recurring import Recurring
from jobs.specs.fields import SpecField, fields_of
from jobs.specs.submission import Submission
from scheduler.serializers import checked_json
from scheduler.submission.presets import presets
from scheduler.submission.recurring import add
from scheduler.submission.submit import Checked, check, copied, submit
from webui.api.uploads import preview_file
from webui.context import choice, clean, database, integer, redirect, settings
from webui.contract.problems import entry
from webui.forms import controls
from webui.forms.choices import Filled, carried, open_or_take, with_head, with_preset
from webui.forms.controls import problems_by_field
from webui.forms.known_models import known_models
from webui.forms.labels import LABELS
from webui.kinds import PAGES, pruning

HUB_FIELDS = ("data.dataset", "data.config", "data.split", "data.revision")
MODEL_AND_DATA = (
    *("model.name", "model.revision", "data.path", *HUB_FIELDS, "data.text_columns"),
    *("data.label_column", "data.offset", "data.limit", "data.sample", "data.seed"),
)
"""Fields of `new_data.html`."""
JOB_FIELDS = ("name", "priority", "queue", "deadline", "keep_days", "keep_details_days")
REPEAT_FIELDS = ("cron", "zone")
_NOTIFY = "notify."
"""Begins the names of the checkboxes of recipients."""

T = TypeVar("T")

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
        if job.quick:
            if job.kind == "attribution":
                return redirect(url_for("lab.show", jobs=cloned, edit=cloned))
            return redirect(url_for("attack.try_form", clone=cloned))
        raw = copied(job)
    elif source := integer("from", 0):
        raw = pruning.started_from(job_reads.get_job(database(), source))
    elif name:
        if name not in known:
            raise refuse("preset", name, "is unknown", f"Known: {', '.join(known)}.")
        raw = known[name]
    values = to_form(raw)
    if choice("source", ("file", "hub")):
        values["source"] = request.args["source"].strip()
    values = defaults(values["kind"]) | {"queue": settings().queue} | values
    return _page(Filled(values=values), chosen=name, cloned=cloned)


@blueprint.post("/jobs/new")
def create() -> Response | tuple[str, int]:
    """Check and submit; show the form again with every problem at its field, if there is one.

    Other buttons of the form change a part of it and keep everything typed.
    """
    values, do = _given(), request.form.get("do", "")
    try:
        values = with_upload(values)
        if chosen := _chosen(do, values):
            return _page(with_head(chosen, settings())), 200
        if do == "check":
            filled = with_head(Filled(values=values), settings())
            values = dict(filled.values)
            checked = check(to_submission(values), settings(), database())
            return _page(filled, checked=checked), 200
        checked = check(to_submission(values), settings(), database())
        if values.get("cron", "").strip():
            times = controls.read(Recurring, values, REPEAT_FIELDS)
            repeated = {**times, "submission": to_submission(values)}
            add(repeated, settings(), database())
            return redirect(url_for("recurring.index"))
        job_id = submit(checked, database())
    except InputError as error:
        status = 429 if isinstance(error, LimitError) else 400
        filled = Filled(values=values, problems=error.problems)
        return _page(with_head(filled, settings())), status
    notice = {checked.existing_job: "existing", checked.same_as: "same"}.get(job_id)
    return redirect(url_for("jobs.show", job_id=job_id, notice=notice))


def _chosen(do: str, values: dict[str, str]) -> Filled | None:
    """The form after a choice: `kind:NAME`, `preset:NAME`, or one of the file picker."""
    action, _, argument = do.partition(":")
    before = _kind(values.get("kind", DEFAULT))
    # Browsers do not send a checkbox that is off; the next page must not turn it on.
    off = {
        name: ""
        for name, field in form_fields(before).items()
        if field.is_checkbox and name not in values
    }
    if action == "kind":
        return Filled(values={**defaults(_kind(argument)), **off, **values, "kind": argument})
    if action == "preset":
        known = presets(settings())
        if argument not in known:
            raise refuse("preset", argument, "is unknown", f"Known: {', '.join(known)}.")
        preset = to_form(known[argument])
        own = defaults(preset["kind"])
        filled = with_preset({**off, **values}, preset, own, _labels(preset["kind"]))
        return replace(filled, values={**own, **filled.values})
    if action == "from":
        job = job_reads.get_job(database(), int(argument) if argument.isdecimal() else 0)
        raw = pruning.started_from(job)
        return Filled(values={**off, **values, **to_form(raw)})
    return open_or_take(do, values, settings())


@blueprint.post("/jobs/new/check")
def check_form() -> Response:
    """Check the form while it is filled in: what the API's check answers, or `problems`."""
    values = _given()
    return while_typing(
        lambda: checked_answer(check(to_submission(values), settings(), database()), checked_json),
        lambda found: at_fields(found, values),
    )


def checked_answer(checked: T, as_json: Callable[[T], dict[str, Any]]) -> Response:
    """The findings of a check as the API answers them, and as the page shows them: `html`."""
    return jsonify({**as_json(checked), "html": render_template("checked.html", checked=checked)})


def while_typing(
    view: Callable[[], Response],
    words: Callable[[Sequence[Problem]], Sequence[Problem]] = lambda found: found,
) -> Response:
    """Answer problems with status 200: a form that is half filled in is no error.

    Browsers write any other status into their console, once for every pause in typing.

    words: the problems as the form shows them
    """
    try:
        return view()
    except InputError as error:
        return jsonify({"problems": [entry(problem) for problem in words(error.problems)]})


@blueprint.post("/jobs/new/preview")
def preview() -> Response:
    """Show the head of the data file as the API's preview does, or answer `problems`."""
    return while_typing(preview_file)  # it reads the request itself


def to_submission(values: Mapping[str, str]) -> dict[str, Any]:
    """The raw submission of a form's values; empty fields mean the default."""
    kind = _kind(values.get("kind", DEFAULT))
    unused = other_source(values)
    names = [name for name in spec_fields(kind) if name not in unused]
    spec = {"kind": kind, **controls.read(SPECS[kind], values, names, PAGES[kind].controls)}
    beside: dict[str, Any] = {"again": True} if values.get("again") else {}
    if told := [name.removeprefix(_NOTIFY) for name in values if name.startswith(_NOTIFY)]:
        beside["notify"] = told
    return {"spec": spec, **controls.read(Submission, values, JOB_FIELDS), **beside}


def other_source(values: Mapping[str, str]) -> tuple[str, ...]:
    """The fields of the source of data that is not chosen."""
    return ("data.path",) if values.get("source") == "hub" else HUB_FIELDS


def spec_fields(kind: str) -> list[str]:
    """The fields of a kind's specification that its form has."""
    own = [
        name
        for name in fields_of(SPECS[kind])
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
        **controls.show(spec, spec_fields(kind), PAGES[kind].controls),
        **controls.show(raw, JOB_FIELDS),
    }


def defaults(kind: str) -> dict[str, str]:
    """The values of an empty form."""
    return {
        "source": "file",
        **controls.defaults(SPECS[kind], spec_fields(kind), PAGES[kind].controls),
        **controls.defaults(Submission, JOB_FIELDS),
        **controls.defaults(Recurring, REPEAT_FIELDS),
    }


def at_fields(problems: Sequence[Problem], values: Mapping[str, str]) -> list[Problem]:
    """The problems at the fields of the form, in its words."""
    kind = values.get("kind", DEFAULT)
    return controls.as_shown(of_source(problems, values), _shown(kind), _labels(kind))


def of_source(problems: Sequence[Problem], values: Mapping[str, str]) -> list[Problem]:
    """The problems, with that of a missing source of data at the one that was chosen."""
    if any(values.get(name, "").strip() for name in ("data.path", "data.dataset")):
        return list(problems)
    field, remedy = "data.path", "Choose a file, or upload one."
    if values.get("source") == "hub":
        field, remedy = "data.dataset", "Name a dataset of the hub, such as nyu-mll/glue."
    told = Problem(field=field, value=None, message="is empty", remedy=remedy)
    missing = ("data.path", None)
    return [told if (one.field, one.value) == missing else one for one in problems]


def _shown(kind: str) -> set[str]:
    """The fields that the form of a kind has a place for problems of."""
    own = spec_fields(kind) if kind in PAGES else []
    return {*own, *JOB_FIELDS, *REPEAT_FIELDS, "model", "data", "file"}


def _labels(kind: str) -> dict[str, str]:
    return {**LABELS, **(PAGES[kind].labels if kind in PAGES else {})}


def _given() -> dict[str, str]:
    return {name: clean(value) for name, value in request.form.items()}


def _kind(name: str) -> str:
    if name not in PAGES:
        raise refuse("kind", name, "is not a kind of job that has a form", nearest(name, PAGES))
    return name


def _presets(kind: str) -> list[str]:
    found = presets(settings()).items()
    return [name for name, raw in found if raw["spec"].get("kind", DEFAULT) == kind]


def form_fields(kind: str) -> dict[str, SpecField]:
    """The fields of the models that the form of a kind fills in."""
    return {**fields_of(Recurring), **fields_of(Submission), **fields_of(SPECS[kind])}


def _page(
    filled: Filled, *, checked: Checked | None = None, chosen: str = "", cloned: int = 0
) -> str:
    values = filled.values
    kind = _kind(values.get("kind", DEFAULT))
    own = {name for name in values if name.startswith(PAGES[kind].own_names)}
    rendered = {*defaults(kind), *own, "kind", "source", "again"}
    return render_template(
        "new_job.html",
        kind=kind,
        pages=PAGES,
        fields=form_fields(kind),
        values=values,
        carried=carried(values, rendered),
        filled=filled,
        models=known_models(),
        **problems_by_field(of_source(filled.problems, values), _shown(kind), _labels(kind)),
        checked=checked,
        presets=_presets(kind),
        chosen=chosen,
        cloned=cloned,
        highest_priority=highest_priority(),
        retention=settings().retention,
        uploads_megabytes=settings().upload_megabytes,
        folders=settings().readable_folders,
    )
