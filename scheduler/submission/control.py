"""Control of jobs: change, pause, resume, cancel, purge, delete.

The request is stored with the job; the scheduler and the workers act on it.
"""

from __future__ import annotations

from typing import Literal, get_args

from db.database import Database
from db.ops import retention
from db.queue import lifecycle
from db.reads import jobs as job_reads
from jobs.errors import InputError, nearest, refuse
from jobs.people import priority_problems
from jobs.specs.submission import parse_changes

Action = Literal["pause", "resume", "cancel", "delete", "purge"]


def change(database: Database, job_id: int, raw: object) -> None:
    """Change a job's priority, or how long it is kept.

    Raises InputError for bad values and a priority that the person may not give, NotFoundError for
    an unknown job and ConflictError for the priority of a job that has ended.
    """
    changes = parse_changes(raw)
    given = changes.model_dump(include=changes.model_fields_set)
    if not given:
        raise refuse("changes", None, "change nothing", "Give priority, or days to keep the job.")
    if "priority" in given:
        now = job_reads.get_job(database, job_id).priority
        if problems := priority_problems(given["priority"], now):
            raise InputError(problems)
    lifecycle.change_job(database, job_id, given)


def control(database: Database, job_id: int, action: str) -> None:
    """Pause, resume or cancel a job; purge the details of a final one, or delete it.

    Raises InputError for an unknown action, NotFoundError for an unknown job and ConflictError
    where the job's state does not allow it.
    """
    if action not in get_args(Action):
        raise refuse("action", action, "is unknown", nearest(action, get_args(Action)))
    if action == "purge":
        retention.purge(database, job_id)
        retention.remove_details(database, seconds=1.0)
    else:
        lifecycle.set_control(database, job_id, action)
