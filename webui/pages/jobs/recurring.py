"""The page of recurring jobs."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, url_for

from db.queue import recurring
from scheduler.submission.recurring import control
from webui.context import database, redirect

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
