"""Recipients of notifications, and what they were told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.notifications import JobEvents, NewRecipient
from webui.contract.models import MOST_ROWS, Answer, Page, RawBody


class RecipientBody(RawBody):
    """A recipient to add."""

    described = NewRecipient


class RecipientAnswer(Answer):
    """A recipient; its address is not shown again."""

    id: int
    user: str
    """Whose jobs it is told of; empty for everyone's."""
    name: str
    service: str
    shown: str
    """The address without its secrets."""
    jobs: JobEvents
    """The jobs that it is told of."""
    conditions: bool
    """True if it is told of problems of the installation."""
    created_at: float


class NewRecipientAnswer(RecipientAnswer):
    """A recipient that was just added."""

    secret: str | None
    """The key that a webhook's receiver checks signatures with; shown only now."""


class RecipientsAnswer(Page):
    """Recipients, the oldest first."""

    recipients: list[RecipientAnswer]


class NotificationAnswer(Answer):
    """A notification and what became of it."""

    id: int
    recipient: str
    event: str
    """`job:12`, `study:3`, `test:…` or `condition:…`."""
    message: str | None
    """Its words, where they are stored: those about jobs are made when they are sent."""
    state: Literal["waiting", "sent", "failed"]
    tries: int
    due_at: float
    """Time of the next try, while it waits."""
    error: str | None
    created_at: float
    ended_at: float | None


class NotificationsAnswer(Page):
    """Notifications, the newest first."""

    notifications: list[NotificationAnswer]


class JobRecipients(Answer):
    """The recipients that were asked for a job, besides those that are told of every one."""

    recipients: list[int] = Field(max_length=MOST_ROWS)
    """Their numbers."""
