"""Rows of a published view: all as they were at one time, or an error."""

from __future__ import annotations

import pytest

from db.database import Database
from db.ops import deletion
from db.queue import lifecycle
from db.results import export
from jobs.errors import NotFoundError
from tests.helpers.jobs import planned_job
from tests.helpers.queue import finish_all

VIEW = export.EXPORTED["examples"]


@pytest.fixture
def job(database: Database) -> int:
    """A job that has succeeded."""
    job = planned_job(database)
    finish_all(database)
    return job


def delete(database: Database, job: int) -> None:
    """Delete a job, and its rows as far as no reader holds them."""
    lifecycle.set_control(database, job, "delete")
    deletion.empty_jobs(database, 60)


def test_a_job_that_is_deleted_meanwhile_is_read_to_its_end(
    database: Database, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CHUNK", 1)
    chunks = export.chunks(database, VIEW, job)
    first = next(chunks)
    delete(database, job)
    assert len([first, *chunks]) == 6


def test_a_job_that_is_deleted_before_its_first_row_is_an_error(
    database: Database, job: int
) -> None:
    chunks = export.chunks(database, VIEW, job)
    delete(database, job)
    with pytest.raises(NotFoundError, match=f"no job {job}"):
        next(chunks)
