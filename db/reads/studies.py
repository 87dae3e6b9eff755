"""Studies: writing their jobs together, and queries about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import insert

from db import schema
from db.database import Database
from db.queue import lifecycle, new_jobs
from db.queue.new_jobs import NewJob
from db.transaction import Transaction
from jobs.errors import ConflictError, NotFoundError
from jobs.states import FINAL_JOB_STATES, JobState
from jobs.study import study_state

STUDIES = """
SELECT s.id, s.name, s.user_name, s.created_at, t.step, t.job_id, j.state, j.control
FROM (SELECT * FROM study WHERE (:study = 0 OR id = :study) AND id < :before
      ORDER BY id DESC LIMIT :limit OFFSET :offset) s
JOIN study_step t ON t.study_id = s.id JOIN job j ON j.id = t.job_id
ORDER BY s.id DESC, t.position
"""
COUNT = "SELECT COUNT(*) FROM study"
NEWEST_JOB = "SELECT COALESCE(MAX(id), 0) FROM job"
PLACE = "UPDATE job SET place = :place WHERE id IN :jobs"


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A study and the jobs that are its steps."""

    id: int
    name: str
    user: str
    created_at: float
    steps: dict[str, int]
    """Its jobs' numbers by step, in order."""
    states: dict[str, JobState]
    """Their states."""
    state: JobState
    """The state of the study, see `jobs.study.study_state`."""

    @property
    def final(self) -> bool:
        """True once all of its jobs have ended."""
        return self.state in FINAL_JOB_STATES


def write_study(
    database: Database,
    name: str,
    user: str,
    steps: Iterable[str],
    job: Callable[[str, Mapping[str, int]], NewJob | int],
) -> tuple[int, dict[str, int]]:
    """Write a study and its jobs in one transaction; returns its number and its jobs' by step.

    `job(step, numbers)` makes the job of a step from the numbers of the steps before it, or returns
    the number of an existing job.
    """

    def work(tx: Transaction) -> tuple[int, dict[str, int]]:
        numbers: dict[str, int] = {}
        newest = tx.run(NEWEST_JOB).scalar_one()
        for step in steps:
            new = job(step, numbers)
            numbers[step] = new if isinstance(new, int) else new_jobs.write_job(tx, new)
        clock = tx.clock
        values = {"name": name, "user_name": user, "created_at": clock}
        inserted = tx.execute(insert(schema.study).values(values))
        study = int((inserted.inserted_primary_key or (0,))[0])
        own = [number for number in numbers.values() if number > newest]
        if own:
            tx.run(PLACE, place=max(own), jobs=own)
        rows = [
            {"study_id": study, "step": step, "position": place, "job_id": number}
            for place, (step, number) in enumerate(numbers.items())
        ]
        tx.execute(insert(schema.study_step), rows)
        return study, numbers

    return new_jobs.write_jobs(database, work)


def list_studies(
    database: Database, limit: int = 1000, offset: int = 0, before: int | None = None
) -> list[StudyRow]:
    """List studies, newest first; those older than the study `before`."""
    return _read(database, 0, limit, offset, before)


def count_studies(database: Database) -> int:
    """Count the studies."""
    return int(database.value(COUNT))


def get_study(database: Database, study: int) -> StudyRow:
    """Get one study. Raises NotFoundError."""
    found = _read(database, study, 1, 0)
    if not found:
        raise NotFoundError(f"There is no study {study}.")
    return found[0]


def set_control(database: Database, study: int, action: str) -> None:
    """Pause, resume or cancel every job of a study whose state allows it, in one transaction.

    Raises NotFoundError, and ConflictError if no job's state does.
    """
    found = get_study(database, study)
    with database.write() as tx:
        touched = [lifecycle.control(tx, job_id, action) for job_id in found.steps.values()]
        tx.announce()
    if not any(touched):
        raise ConflictError(f"Study {study} is {found.state}: {action} is not possible now.")


def _read(
    database: Database, study: int, limit: int, offset: int, before: int | None = None
) -> list[StudyRow]:
    last = 2**31 if before is None else before
    values = {"study": study, "limit": limit, "offset": offset, "before": last}
    with database.read() as tx:
        rows = tx.run(STUDIES, **values).all()
    found = []
    for _, group in groupby(rows, key=lambda row: int(row.id)):
        steps = list(group)
        first = steps[0]
        states = {row.step: JobState(row.state) for row in steps}
        found.append(
            StudyRow(
                id=first.id,
                name=first.name,
                user=first.user_name,
                created_at=first.created_at,
                steps={row.step: row.job_id for row in steps},
                states=states,
                state=study_state([(JobState(row.state), row.control) for row in steps]),
            )
        )
    return found
