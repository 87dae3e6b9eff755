"""What a user may ask of a job. The database holds the wish; the scheduler and the workers obey."""

from __future__ import annotations

from typing import Literal, get_args

from db import lifecycle
from db.database import Database
from jobs.errors import nearest, refuse

Action = Literal["pause", "resume", "cancel", "delete"]


def control(database: Database, job_id: int, action: str) -> None:
    """Pause, resume, cancel or (a final job) delete.

    Raises InputError for an unknown action, NotFoundError for an unknown job and ConflictError
    where the job's state does not allow it.
    """
    if action not in get_args(Action):
        raise refuse("action", action, "is unknown", nearest(action, get_args(Action)))
    lifecycle.set_control(database, job_id, action)
