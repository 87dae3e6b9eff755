"""The page of notifications: recipients, what they were told, and this browser."""

from __future__ import annotations

import math
from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, render_template, request, url_for

from db.ops import notifications
from db.ops.notifications import Recipient
from db.reads import jobs as job_reads
from jobs.errors import HeadwiseError, InputError, Problem, refuse
from jobs.notifications import WORDS, JobEvents, parse_recipient
from scheduler.notifications.sending import describe
from webui.accounts.person import person
from webui.context import clean, database, redirect, settings

RECENT = 20
"""Notifications that are listed."""

blueprint = Blueprint("notifications", __name__)


@blueprint.app_context_processor
def _helpers() -> dict[str, object]:
    return {"recipients": recipients, "told_of_job": _told_of_job}


def user() -> str:
    """Whose recipients and jobs are shown; empty, without sign-in, for everyone's."""
    found = person()
    return found.folded if found and found.account else ""


@blueprint.get("/notifications")
def index() -> str:
    """The recipients, a form for another, and the last notifications."""
    return _page({"jobs": JobEvents.ALL.value})


@blueprint.post("/notifications")
def add() -> Response | tuple[str, int]:
    """Add a recipient and send it a test; on a problem the form again."""
    given = {name: clean(value).strip() for name, value in request.form.items()}
    try:
        new = parse_recipient({**given, "conditions": "conditions" in given})
        added = notifications.add(database(), new, user(), *describe(new, settings()))
    except InputError as error:
        return _page(given, error.problems), 400
    except HeadwiseError as error:
        return _page(
            given, [Problem(field="name", value=given.get("name"), message=str(error))]
        ), 409
    notifications.write_test(database(), added)
    secret = notifications.secret(database(), added.id)
    if secret:  # shown this once: it is on no page that can be opened again
        return _page({"jobs": JobEvents.ALL.value}, added=added, secret=secret), 201
    return redirect(url_for(".index"))


@blueprint.post("/notifications/<int(max=2147483647):number>/<action>")
def act(number: int, action: str) -> Response:
    """Send a recipient a test, or remove it."""
    one = notifications.get(database(), number)
    if action == "test":
        notifications.write_test(database(), one)
    elif action == "remove":
        notifications.remove(database(), number)
    else:
        raise refuse("action", action, "is unknown", "Known: test, remove.")
    return redirect(url_for(".index"))


@blueprint.post("/jobs/<int(max=2147483647):job_id>/notify")
def tell(job_id: int) -> Response:
    """Have recipients told when a job ends: those that are ticked, and no others."""
    job_reads.get_job(database(), job_id)
    ticked = set(request.form.getlist("recipient", type=int))
    for one in recipients():
        notifications.tell(database(), job_id, one.id, told=one.id in ticked)
    return redirect(url_for("jobs.show", job_id=job_id, _anchor="notify"))


@blueprint.get("/notifications/ended")
def ended() -> Response:
    """Jobs that ended after a time, for the notifications of a browser; without one, the time."""
    after = request.args.get("after", type=float)
    if after is None or not math.isfinite(after):
        with database().read() as tx:
            return jsonify({"after": tx.now(), "jobs": []})
    found = notifications.ended_since(database(), after, user())
    jobs = [
        {
            "id": one.id,
            "title": f"Job {one.id} {'was cancelled' if one.state == 'cancelled' else one.state}",
            "name": one.name or one.kind,
            "url": url_for("jobs.show", job_id=one.id),
        }
        for one in found
    ]
    return jsonify({"after": max([after, *(one.finished_at for one in found)]), "jobs": jobs})


def _page(
    values: Mapping[str, str],
    problems: list[Problem] | tuple[Problem, ...] = (),
    added: Recipient | None = None,
    secret: str | None = None,
) -> str:
    by_field: dict[str, list[Problem]] = {}
    for problem in problems:
        by_field.setdefault(problem.field, []).append(problem)
    return render_template(
        "notifications.html",
        values=values,
        by_field=by_field,
        problems=problems,
        added=added,
        secret=secret,
        found=recipients(),
        log=notifications.list_notifications(database(), user(), RECENT),
        words=WORDS,
        mail=bool(settings().mail_url),
    )


def recipients() -> list[Recipient]:
    """The recipients that the user may see and ask for."""
    return notifications.find(database(), user())


def _told_of_job(job_id: int) -> set[int]:
    return notifications.told_of_job(database(), job_id)
