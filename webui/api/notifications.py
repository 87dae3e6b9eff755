"""Notifications in the JSON API."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint

from db.ops import notifications
from db.reads import jobs as job_reads
from jobs.notifications import parse_recipient
from scheduler.notifications.sending import describe
from scheduler.serializers import notification_json, recipient_json
from webui.api.models.notifications import (
    JobRecipients,
    NewRecipientAnswer,
    NotificationAnswer,
    NotificationsAnswer,
    RecipientAnswer,
    RecipientBody,
    RecipientsAnswer,
)
from webui.api.models.system import RemovedAnswer
from webui.context import database, settings
from webui.contract import cursors
from webui.contract.models import PageQuery, WholePageQuery
from webui.contract.operations import operation
from webui.pages.notifications import recipients, user

TAG = "Notifications"

blueprint = Blueprint("notifications_api", __name__, url_prefix="/api/v1")


@blueprint.get("/recipients")
@operation(TAG, RecipientsAnswer)
def list_recipients(query: WholePageQuery) -> RecipientsAnswer:
    """List the recipients of notifications."""
    shown, following = cursors.page_after(recipients(), query, lambda one: one.id)
    found = [RecipientAnswer(**recipient_json(one)) for one in shown]
    return RecipientsAnswer(recipients=found, next=following)


@blueprint.post("/recipients")
@operation(TAG, NewRecipientAnswer, statuses=(HTTPStatus.CREATED,), creates=True)
def create_recipient(json: RecipientBody) -> tuple[NewRecipientAnswer, int]:
    """Add a recipient, and send it a test."""
    new = parse_recipient(json.raw)
    added = notifications.add(database(), new, user(), *describe(new, settings()))
    notifications.write_test(database(), added)
    secret = notifications.secret(database(), added.id)
    return NewRecipientAnswer(**recipient_json(added), secret=secret), 201


@blueprint.delete("/recipients/<int(max=2147483647):number>")
@operation(TAG, RemovedAnswer)
def delete_recipient(number: int) -> RemovedAnswer:
    """Remove a recipient and its pending notifications."""
    notifications.remove(database(), number)
    return RemovedAnswer(removed=number)


@blueprint.post("/recipients/<int(max=2147483647):number>/test")
@operation(TAG, RecipientAnswer, creates=True)
def test_recipient(number: int) -> RecipientAnswer:
    """Send a recipient a test."""
    one = notifications.get(database(), number)
    notifications.write_test(database(), one)
    return RecipientAnswer(**recipient_json(one))


@blueprint.get("/notifications")
@operation(TAG, NotificationsAnswer)
def list_notifications(query: PageQuery) -> NotificationsAnswer:
    """List the notifications of the last month and what became of them."""
    before = cursors.number(query.cursor)
    found = notifications.list_notifications(database(), user(), query.limit + 1, before=before)
    shown, following = cursors.cut(found, query.limit, lambda one: (one.id,))
    return NotificationsAnswer(
        notifications=[NotificationAnswer(**notification_json(one)) for one in shown],
        next=following,
    )


@blueprint.get("/jobs/<int(max=2147483647):job_id>/recipients")
@operation(TAG, JobRecipients)
def get_job_recipients(job_id: int) -> JobRecipients:
    """Get the recipients chosen for a job."""
    job_reads.get_job(database(), job_id)
    return _told(job_id)


@blueprint.put("/jobs/<int(max=2147483647):job_id>/recipients")
@operation(TAG, JobRecipients)
def set_job_recipients(job_id: int, json: JobRecipients) -> JobRecipients:
    """Set the recipients to notify when a job ends, in place of those chosen before."""
    job_reads.get_job(database(), job_id)
    for number in json.recipients:
        notifications.get(database(), number)
    for one in recipients():
        notifications.tell(database(), job_id, one.id, told=one.id in json.recipients)
    return _told(job_id)


def _told(job_id: int) -> JobRecipients:
    return JobRecipients(recipients=sorted(notifications.told_of_job(database(), job_id)))
