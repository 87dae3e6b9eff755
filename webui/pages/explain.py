"""Explain one text: an ordinary job of one example, first in the queue, and its example page."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, render_template, request, url_for

from db.reads import jobs as job_reads
from jobs.errors import InputError, Problem
from scheduler.submission.presets import presets
from scheduler.submission.quick_jobs import explain_text, texts_again
from scheduler.submission.submit import check, submit
from webui.context import clean, database, integer, redirect, settings

RECENT = 50
"""Jobs whose models are offered."""

blueprint = Blueprint("explain", __name__)


@blueprint.get("/explain")
def show() -> str:
    """The form; ?job= uses a job's model, ?clone= all values of an earlier submission."""
    models = known_models()
    values = {"model": models[0] if models else "", "target": "predicted"}
    cloned = integer("clone", 0)
    if chosen := cloned or integer("job", 0):
        job = job_reads.get_job(database(), chosen)
        values["model"] = job.spec["model"]["name"]
        if cloned:
            values["target"] = job.spec.get("target", "predicted")
            values["text"], values["second"] = texts_again(database(), job)
    return _page(values, models, cloned=cloned)


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
    """Progress until there is a result; then the example, or the job's page if it failed."""
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
    texts = [values.get(name, "") for name in ("text", "second")]
    raw = explain_text(values.get("model", ""), texts, values.get("target", ""))
    return submit(check(raw, settings(), database()), database())


def known_models() -> list[str]:
    """Models of the newest jobs, then those of the presets."""
    used = [job.spec["model"]["name"] for job in job_reads.list_jobs(database(), limit=RECENT)]
    ready = [preset["spec"]["model"]["name"] for preset in presets(settings()).values()]
    return [name for name in dict.fromkeys(used + ready) if name]


def _page(
    values: Mapping[str, str],
    models: list[str],
    problems: tuple[Problem, ...] = (),
    cloned: int = 0,
) -> str:
    return render_template(
        "explain.html",
        values=values,
        models=models,
        problems=problems,
        at_fault={problem.field for problem in problems},
        cloned=cloned,
    )
