"""Recurring jobs: checked when they are added, submitted by the scheduler when they are due."""

from __future__ import annotations

import json
from datetime import datetime

import structlog

from db.accounts.audit import note_made
from db.database import Database
from db.queue import recurring
from db.queue.recurring import Due
from jobs.errors import (
    HubUnavailableError,
    InputError,
    Problem,
    UnavailableError,
    nearest,
    refuse,
)
from jobs.scheduling.recurring import last_time, next_time, parse_recurring
from jobs.settings import Settings
from scheduler.submission.submit import Checked, check, new_job, read_submission, rows_of

RETRY_SECONDS = 60.0
ACTIONS = ("pause", "resume", "remove")

log = structlog.get_logger()


def add(raw: object, settings: Settings, database: Database) -> int:
    """Check a recurring job and store it; returns its number. Raises InputError."""
    found = parse_recurring(raw)
    unlimited = {"max_jobs_per_user": 0, "max_queued_examples_per_user": 0}
    try:
        checked = check(found.submission, settings.model_copy(update=unlimited), database)
    except InputError as error:
        raise InputError(
            [
                Problem(
                    field=f"submission.{p.field}",
                    value=p.value,
                    message=p.message,
                    remedy=p.remedy,
                )
                for p in error.problems
            ]
        ) from None
    submission = read_submission(found.submission, settings)
    if submission.rows is not None:
        remedy = "Give data.path or data.dataset."
        raise refuse("submission.rows", None, "would be the same in every run", remedy)
    if isinstance(submission.deadline, datetime):
        shown, remedy = submission.deadline.isoformat(), "Give seconds, from each submission."
        raise refuse("submission.deadline", shown, "is one time for every run", remedy)
    kept = submission.model_dump(mode="json", exclude={"idempotency_key", "rows"})
    values = {
        "name": found.name or checked.submission.name,
        "user_name": submission.user,
        "cron": found.cron,
        "zone": found.zone,
        "submission": json.dumps(kept, ensure_ascii=False),
        "paused": False,
        "next_at": next_time(found.cron, found.zone, recurring.now(database)),
        "retry_at": 0.0,
    }
    number = recurring.add(database, values)
    note_made(f"recurring job {number}")
    return number


def control(database: Database, number: int, action: str) -> None:
    """Pause, resume or remove a recurring job. Times that pass during a pause are skipped.

    Raises InputError for an unknown action, NotFoundError for an unknown number.
    """
    if action not in ACTIONS:
        raise refuse("action", action, "is unknown", nearest(action, ACTIONS))
    if action == "remove":
        recurring.remove(database, number)
    elif action == "pause":
        recurring.set_paused(database, number, None)
    else:
        found = recurring.get(database, number)
        after = next_time(found.cron, found.zone, recurring.now(database))
        recurring.set_paused(database, number, after)


def submit_due(settings: Settings, database: Database) -> None:
    """Submit each job that is due, once, however many schedulers run.

    After a downtime only the last missed time is made up for.
    """
    for due in recurring.find_due(database):
        when = max(due.next_at, last_time(due.cron, due.zone, due.now) or due.next_at)
        after = next_time(due.cron, due.zone, max(due.now, when))
        try:
            checked = _checked(due, when, settings, database)
            with rows_of(checked) as rows:
                job = new_job(checked, rows)
                done = recurring.take(database, due, when, after, job)
        except InputError as error:
            done = recurring.take(database, due, when, after, str(error))
        except HubUnavailableError as error:
            recurring.postpone(database, due, RETRY_SECONDS, str(error))
            log.warning("recurring job waits for the hub", recurring=due.id, error=str(error))
            continue
        except UnavailableError:
            raise
        except Exception as error:
            log.error("recurring submission raised", recurring=due.id, exc_info=True)
            message = f"submitting raised {type(error).__name__}: {error}"[:2_000]
            done = recurring.take(database, due, when, after, message)
        if isinstance(done, int):
            log.info("recurring job submitted", recurring=due.id, job=done)
        elif done is not None:
            log.warning("recurring job not submitted", recurring=due.id, error=done)


def _checked(due: Due, when: float, settings: Settings, database: Database) -> Checked:
    raw = {**json.loads(due.submission), "idempotency_key": f"recurring {due.id} {when:.0f}"}
    return check(raw, settings, database)
