"""Recurring jobs in the JSON API."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint

from db.queue import recurring
from db.queue.recurring import RecurringJob
from scheduler.submission.recurring import add, control
from webui.api.models.system import (
    RecurringAnswer,
    RecurringBody,
    RecurringJobAnswer,
    RemovedAnswer,
)
from webui.context import database, settings
from webui.contract import cursors
from webui.contract.models import WholePageQuery
from webui.contract.operations import operation

TAG = "Recurring jobs"

blueprint = Blueprint("recurring_api", __name__, url_prefix="/api/v1")


@blueprint.get("/recurring")
@operation(TAG, RecurringAnswer)
def list_recurring(query: WholePageQuery) -> RecurringAnswer:
    """List recurring jobs with their last runs."""
    found = recurring.find(database())
    shown, following = cursors.page_after(found, query, lambda one: one.id)
    return RecurringAnswer(recurring=[_answer(one) for one in shown], next=following)


@blueprint.post("/recurring")
@operation(TAG, RecurringJobAnswer, statuses=(HTTPStatus.CREATED,), creates=True)
def create_recurring(json: RecurringBody) -> tuple[RecurringJobAnswer, int]:
    """Check and store a recurring job; `submission.<field>` names problems of its submission."""
    number = add(json.raw, settings(), database())
    return _answer(recurring.get(database(), number)), 201


@blueprint.get("/recurring/<int(max=2147483647):number>")
@operation(TAG, RecurringJobAnswer)
def get_recurring(number: int) -> RecurringJobAnswer:
    """Get a recurring job with all the runs that are remembered."""
    return _answer(recurring.get(database(), number, recurring.RUNS_KEPT))


@blueprint.delete("/recurring/<int(max=2147483647):number>")
@operation(TAG, RemovedAnswer)
def delete_recurring(number: int) -> RemovedAnswer:
    """Forget a recurring job; the jobs that it submitted stay."""
    control(database(), number, "remove")
    return RemovedAnswer(removed=number)


@blueprint.post("/recurring/<int(max=2147483647):number>/<any(pause, resume):action>")
@operation(TAG, RecurringJobAnswer)
def control_recurring(number: int, action: str) -> RecurringJobAnswer:
    """Pause or resume a recurring job."""
    control(database(), number, action)
    return _answer(recurring.get(database(), number))


def _answer(found: RecurringJob) -> RecurringJobAnswer:
    return RecurringJobAnswer(**vars(found))
