"""Explain one text: an ordinary job of one example, first in the queue, and its example page."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

from flask import Blueprint, Response, render_template, request, url_for

from db.reads import jobs as job_reads
from jobs.errors import InputError, Problem, refuse
from jobs.inputs.data import save_upload
from scheduler.submission.presets import presets
from scheduler.submission.submit import check, submit
from webui.context import clean, database, integer, redirect, settings

FIRST = 100
"""The highest priority: before the waiting shards of every other job."""
RECENT = 50
"""Jobs whose models are offered."""

blueprint = Blueprint("explain", __name__)


@blueprint.get("/explain")
def show() -> str:
    """The form; ?job= takes over a job's model."""
    models = known_models()
    chosen = integer("job", 0)
    if chosen:
        model = job_reads.get_job(database(), chosen).spec["model"]["name"]
    else:
        model = models[0] if models else ""
    return _page({"model": model, "target": "predicted"}, models)


@blueprint.post("/explain")
def create() -> Response | tuple[str, int]:
    """Submit the text, then wait on a page of its own; on a problem the form again."""
    values = {name: clean(value).strip() for name, value in request.form.items()}
    try:
        job_id = _submit(values)
    except InputError as error:
        return _page(values, known_models(), error.problems), 400
    return redirect(url_for(".wait", job_id=job_id))


@blueprint.get("/explain/<int(max=2147483647):job_id>")
def wait(job_id: int) -> Response | str:
    """Progress until there is a result; then the example, or the job that says what went wrong."""
    job = job_reads.get_job(database(), job_id)
    if job.examples_done:
        there = url_for("results.example", job_id=job_id, example_no=0)
    elif job.final:
        there = url_for("jobs.show", job_id=job_id)
    else:
        there = url_for(".wait", job_id=job_id)
        return render_template(
            "explain_wait.html", job=job, title="Explaining your text", there=there
        )
    return redirect(there)


def _submit(values: Mapping[str, str]) -> int:
    texts = {"text": values.get("text", ""), "second": values.get("second", "")}
    if not texts["text"]:
        raise refuse("text", "", "is empty", "Write the text that is to be explained.")
    row = {name: text.replace("\r\n", "\n") for name, text in texts.items() if text}
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    path = save_upload(io.BytesIO(line), "text.jsonl", settings())
    raw = {
        "spec": {
            "model": {"name": values.get("model", "")},
            "data": {"path": str(path), "text_columns": list(row)},
            "target": values.get("target") or "predicted",
        },
        "name": " ".join(texts["text"].split())[:80],
        "priority": FIRST,
    }
    return submit(check(raw, settings(), database()), database())


def known_models() -> list[str]:
    """Models of the newest jobs, then those of the presets."""
    used = [job.spec["model"]["name"] for job in job_reads.list_jobs(database(), limit=RECENT)]
    ready = [preset["spec"]["model"]["name"] for preset in presets(settings()).values()]
    return [name for name in dict.fromkeys(used + ready) if name]


def _page(values: Mapping[str, str], models: list[str], problems: tuple[Problem, ...] = ()) -> str:
    at_fault = {problem.field for problem in problems}
    return render_template(
        "explain.html", values=values, models=models, problems=problems, at_fault=at_fault
    )
