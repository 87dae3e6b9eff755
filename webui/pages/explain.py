"""Explain one text: an ordinary job of one example, first in the queue, and its example page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, render_template, request, url_for

from db.reads import jobs as job_reads
from db.reads.jobs import Job
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
    values = {"target": "predicted"}
    cloned = integer("clone", 0)
    if chosen := cloned or integer("job", 0):
        job = job_reads.get_job(database(), chosen)
        values["model"] = job.spec["model"]["name"]
        if cloned:
            values["target"] = job.spec.get("target", "predicted")
            values["text"], values["second"] = texts_again(database(), job)
    return show_form("explain.html", values, cloned=cloned)


@blueprint.post("/explain")
def create() -> Response | tuple[str, int]:
    """Submit the text, then wait on a page of its own; on a problem the form again."""
    return submit_form("explain.html", _submission, ".wait")


@blueprint.get("/explain/<int(max=2147483647):job_id>")
def wait(job_id: int) -> Response | str:
    """Progress until there is a result; then the example, or the job's page if it failed."""
    job = job_reads.get_job(database(), job_id)
    if job.examples_done:
        return redirect(url_for("results.example", job_id=job_id, example_no=0))
    return wait_for(job, "Explaining your text")


def _submission(values: Mapping[str, str]) -> dict[str, Any]:
    texts = [values.get(name, "") for name in ("text", "second")]
    return explain_text(values.get("model", ""), texts, values.get("target", ""))


# Forms of one text, of which this is one.


def show_form(
    template: str,
    values: Mapping[str, str],
    problems: tuple[Problem, ...] = (),
    cloned: int = 0,
) -> str:
    """The form of a quick job with these values, and by default a model used lately."""
    models = _known_models()
    return render_template(
        template,
        values={"model": next(iter(models), ""), **values},
        models=models,
        problems=problems,
        at_fault={problem.field for problem in problems},
        cloned=cloned,
    )


def submit_form(
    template: str, submission: Callable[[Mapping[str, str]], dict[str, Any]], there: str
) -> Response | tuple[str, int]:
    """Submit a quick job and go `there`, an endpoint; on a problem show the form again."""
    values = {name: clean(value).strip() for name, value in request.form.items()}
    try:
        job_id = submit(check(submission(values), settings(), database()), database())
    except InputError as error:
        return show_form(template, values, error.problems), 400
    return redirect(url_for(there, job_id=job_id))


def wait_for(job: Job, title: str) -> Response | str:
    """The page that waits for a quick job; that of the job once it has ended."""
    if job.final:
        return redirect(url_for("jobs.show", job_id=job.id))
    return render_template("explain_wait.html", job=job, title=title)


def _known_models() -> list[str]:
    """Models of the newest jobs, then those of the presets."""
    used = [job.spec["model"]["name"] for job in job_reads.list_jobs(database(), limit=RECENT)]
    ready = [preset["spec"]["model"]["name"] for preset in presets(settings()).values()]
    return [name for name in dict.fromkeys(used + ready) if name]
