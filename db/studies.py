"""Studies: jobs written together, and what pages read of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, insert, text

from db import store, tables
from db.database import Database
from db.store import NewJob
from jobs.errors import NotFoundError

STUDIES = """
SELECT s.id, s.name, s.user_name, s.created_at, t.step, t.job_id
FROM study s JOIN study_step t ON t.study_id = s.id
WHERE :study = 0 OR s.id = :study ORDER BY s.id DESC, t.position
"""


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A study and the jobs that are its steps."""

    id: int
    name: str
    user: str
    created_at: float
    steps: dict[str, int]
    """Numbers of its jobs by step, in order."""


def write_study(
    database: Database,
    name: str,
    user: str,
    steps: Iterable[str],
    job: Callable[[str, Mapping[str, int]], NewJob],
) -> tuple[int, dict[str, int]]:
    """Write a study and its jobs in one transaction; returns its number and the jobs' by step.

    `job(step, numbers)` makes the job of a step from the numbers of those before it.
    """

    def work(connection: Connection) -> tuple[int, dict[str, int]]:
        numbers: dict[str, int] = {}
        for step in steps:
            numbers[step] = store.write_job(database, connection, job(step, numbers))
        clock = database.sql("{clock}")
        values = {"name": name, "user_name": user, "created_at": clock}
        inserted = connection.execute(insert(tables.study).values(values))
        study = int((inserted.inserted_primary_key or (0,))[0])
        rows = [
            {"study_id": study, "step": step, "position": place, "job_id": number}
            for place, (step, number) in enumerate(numbers.items())
        ]
        connection.execute(insert(tables.study_step), rows)
        return study, numbers

    return store.write_jobs(database, work)


def list_studies(database: Database) -> list[StudyRow]:
    """Every study, newest first."""
    return _read(database, 0)


def get_study(database: Database, study: int) -> StudyRow:
    """One study. Raises NotFoundError."""
    found = _read(database, study)
    if not found:
        raise NotFoundError(f"There is no study {study}.")
    return found[0]


def _read(database: Database, study: int) -> list[StudyRow]:
    found: dict[int, StudyRow] = {}
    with database.read() as connection:
        for row in connection.execute(text(STUDIES), {"study": study}):
            new = StudyRow(
                id=row.id, name=row.name, user=row.user_name, created_at=row.created_at, steps={}
            )
            found.setdefault(row.id, new).steps[row.step] = row.job_id
    return list(found.values())
