"""Recurring jobs in the JSON API."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from db.queue import recurring
from jobs.errors import NotFoundError
from scheduler.submission.recurring import add, control
from webui.api.requests import read_json
from webui.context import database, settings

blueprint = Blueprint("recurring_api", __name__, url_prefix="/api/v1")


@blueprint.get("/recurring")
def list_recurring() -> Response:
    """All recurring jobs."""
    return jsonify({"recurring": [asdict(one) for one in recurring.find(database())]})


@blueprint.post("/recurring")
def create() -> tuple[Response, int]:
    """Check and store a recurring job."""
    number = add(read_json(), settings(), database())
    return jsonify(asdict(recurring.get(database(), number))), 201


@blueprint.get("/recurring/<int(max=2147483647):number>")
def get(number: int) -> Response:
    """A recurring job with all the runs that are remembered."""
    return jsonify(asdict(recurring.get(database(), number, recurring.RUNS_KEPT)))


@blueprint.delete("/recurring/<int(max=2147483647):number>")
def delete(number: int) -> Response:
    """Forget a recurring job; what it submitted stays."""
    control(database(), number, "remove")
    return jsonify({"removed": number})


@blueprint.post("/recurring/<int(max=2147483647):number>/<action>")
def control_recurring(number: int, action: str) -> Response:
    """Pause or resume."""
    if action not in ("pause", "resume"):
        raise NotFoundError(f"There is no action {action[:40]!r}; see docs/api.md.")
    control(database(), number, action)
    return jsonify(asdict(recurring.get(database(), number)))
