"""One action on many jobs: each answers for itself, and a refusal does not keep the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from db.database import Database
from db.reads import jobs as job_reads
from db.reads.jobs import Job
from jobs.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    nearest,
    refuse,
)
from jobs.settings import Settings
from jobs.states import JobState
from scheduler.submission.control import change, control
from scheduler.submission.quick_jobs import rows_again
from scheduler.submission.submit import check, copied, submit

ManyAction = Literal["pause", "resume", "cancel", "retry", "priority", "purge", "delete"]
ACTIONS: tuple[str, ...] = get_args(ManyAction)
MOST_JOBS = 500
"""Most jobs of a request."""
_DONE = {
    "pause": "pauses",
    "resume": "resumes",
    "cancel": "is cancelled",
    "purge": "is purged",
    "delete": "is deleted",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The effect of an action on a job."""

    job: int
    done: bool
    message: str
    """A sentence: what was done, or why not."""
    new_job: int | None = None
    """The job that was submitted in its place, by `retry`."""


@dataclass(frozen=True, kw_only=True)
class ManyJobs:
    """An action on jobs, in the name of somebody."""

    action: str
    jobs: Sequence[int]
    priority: int = 0
    """The new priority, for the action of that name."""

    def check(self) -> None:
        """Raise InputError for what is wrong with the request itself."""
        if self.action not in ACTIONS:
            raise refuse("action", self.action, "is unknown", nearest(self.action, ACTIONS))
        if not self.jobs:
            raise refuse("jobs", None, "name no job", "Choose at least one.")
        if len(self.jobs) > MOST_JOBS:
            message = f"are {len(self.jobs):,}, and {MOST_JOBS} are allowed at once"
            raise refuse("jobs", None, message, "Send them in several requests.")


def act_on_many(
    asked: ManyJobs, settings: Settings, database: Database, may_change: Callable[[str], bool]
) -> list[Outcome]:
    """Carry out an action on each of the jobs; `may_change` says whose.

    Raises InputError for what is wrong with the request itself.
    """
    asked.check()
    return [
        _act(asked, number, settings, database, may_change) for number in dict.fromkeys(asked.jobs)
    ]


def _act(
    asked: ManyJobs,
    number: int,
    settings: Settings,
    database: Database,
    may_change: Callable[[str], bool],
) -> Outcome:
    try:
        job = job_reads.get_job(database, number)
        if not may_change(job.user):
            raise ForbiddenError(f"Job {number} is not yours: it belongs to {job.user}.")
        return _carried_out(asked, job, settings, database)
    except (ConflictError, NotFoundError, ForbiddenError) as error:
        return Outcome(job=number, done=False, message=str(error))
    except InputError as error:
        return Outcome(job=number, done=False, message=f"Job {number}: {error}")


def _carried_out(asked: ManyJobs, job: Job, settings: Settings, database: Database) -> Outcome:
    if asked.action == "retry":
        new = retry(job, settings, database)
        message = f"Job {new} was submitted in place of job {job.id}."
        return Outcome(job=job.id, done=True, message=message, new_job=new)
    if asked.action == "priority":
        change(database, job.id, {"priority": asked.priority})
        message = f"Job {job.id} has priority {asked.priority}."
        return Outcome(job=job.id, done=True, message=message)
    if job.final and asked.action in ("pause", "resume", "cancel"):
        raise ConflictError(f"Job {job.id} has already ended ({job.state.value}).")
    control(database, job.id, asked.action)
    return Outcome(job=job.id, done=True, message=f"Job {job.id} {_DONE[asked.action]}.")


def can_be_retried(job: Job) -> bool:
    """True for a job that failed or was cancelled."""
    return job.state in (JobState.FAILED, JobState.CANCELLED)


def retry(job: Job, settings: Settings, database: Database) -> int:
    """Submit a job that failed or was cancelled once more; returns the new one's number."""
    if not can_be_retried(job):
        raise ConflictError(f"Job {job.id} has not failed: it is {job.state.value}.")
    raw = copied(job) | {"user": job.user}
    if job.spec["data"].get("inline"):
        raw["rows"] = rows_again(database, job)
    return submit(check(raw, settings, database), database)
