"""Recurring jobs: their page, and their part of the JSON API."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, render_template, url_for

from db.queue import recurring
from jobs.errors import NotFoundError
from scheduler.submission.recurring import add, control
from webui.api.jobs import read_json
from webui.context import database, redirect, settings

blueprint = Blueprint("recurring", __name__)


@blueprint.get("/recurring")
def index() -> str:
    """Recurring jobs with their next time and what came of the last ones."""
    return render_template("recurring.html", found=recurring.find(database()))


@blueprint.post("/recurring/<int(max=2147483647):number>/<action>")
def act(number: int, action: str) -> Response:
    """Pause, resume or remove, then back to the list."""
    control(database(), number, action)
    return redirect(url_for(".index"))


@blueprint.get("/api/v1/recurring")
def list_recurring() -> Response:
    """All recurring jobs."""
    return jsonify({"recurring": [asdict(one) for one in recurring.find(database())]})


@blueprint.post("/api/v1/recurring")
def create() -> tuple[Response, int]:
    """Check and store a recurring job."""
    number = add(read_json(), settings(), database())
    return jsonify(asdict(recurring.get(database(), number))), 201


@blueprint.get("/api/v1/recurring/<int(max=2147483647):number>")
def get(number: int) -> Response:
    """A recurring job with all the runs that are remembered."""
    return jsonify(asdict(recurring.get(database(), number, recurring.RUNS_KEPT)))


@blueprint.delete("/api/v1/recurring/<int(max=2147483647):number>")
def delete(number: int) -> Response:
    """Forget a recurring job; what it submitted stays."""
    control(database(), number, "remove")
    return jsonify({"removed": number})


@blueprint.post("/api/v1/recurring/<int(max=2147483647):number>/<action>")
def control_recurring(number: int, action: str) -> Response:
    """Pause or resume."""
    if action not in ("pause", "resume"):
        raise NotFoundError(f"There is no action {action[:40]!r}; see docs/api.md.")
    control(database(), number, action)
    return jsonify(asdict(recurring.get(database(), number)))
