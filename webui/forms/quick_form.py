"""Forms of one text: their values, their submission, and the page that waits for the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Response, render_template, request, url_for

from db.reads.jobs import Job
from jobs.errors import InputError, Problem
from scheduler.submission.submit import check, submit
from webui.context import clean, database, redirect, settings
from webui.forms.known_models import known_models


def show_form(
    template: str,
    values: Mapping[str, str],
    problems: tuple[Problem, ...] = (),
    cloned: int = 0,
) -> str:
    """The form of a quick job with these values, and by default a model used lately."""
    models = known_models()
    return render_template(
        template,
        values={"model": next(iter(models), ""), **values},
        models=models,
        problems=problems,
        at_fault={problem.field for problem in problems},
        cloned=cloned,
    )


def submit_form(
    template: str, submission: Callable[[Mapping[str, str]], dict[str, object]], there: str
) -> Response | tuple[str, int]:
    """Submit a quick job and go `there`, an endpoint; on a problem show the form again."""
    values = typed()
    try:
        job_id = submit(check(submission(values), settings(), database()), database())
    except InputError as error:
        return show_form(template, values, error.problems), 400
    return redirect(url_for(there, job_id=job_id))


def typed() -> dict[str, str]:
    """The values of the form that was sent."""
    return {name: clean(value).strip() for name, value in request.form.items()}


def wait_for(job: Job, title: str) -> Response | str:
    """The page that waits for a quick job; that of the job once it has ended."""
    if job.final:
        return redirect(url_for("jobs.show", job_id=job.id))
    return render_template("quick_wait.html", job=job, title=title)
