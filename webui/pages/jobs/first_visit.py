"""The demo with one click, for an installation that has no jobs yet."""

from __future__ import annotations

from flask import Blueprint, Response, url_for

from scheduler.submission.demo import demo_submission, is_bundled
from scheduler.submission.submit import check, submit
from webui.context import database, redirect, settings

blueprint = Blueprint("first_visit", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"demo_is_bundled": is_bundled}


@blueprint.post("/demo")
def run_demo() -> Response:
    """Put the demo's model and data into the data folder, submit its job, and go there."""
    checked = check(demo_submission(settings()), settings(), database())
    return redirect(url_for("jobs.show", job_id=submit(checked, database())))
