"""Limits of a user, deadlines and days at submission, and what may be changed afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.database import Database
from db.queue import claims, lifecycle, planning
from db.queue.planning import Plan
from db.reads import job_list
from db.reads import jobs as job_reads
from jobs.errors import ConflictError, InputError, LimitError, NotFoundError
from jobs.settings import Settings
from scheduler.submission.control import change
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import raw_submission, refused
from tests.helpers.jobs import ALICE, planned_job


def submitted(database: Database, settings: Settings, **outer: Any) -> int:
    raw = {**raw_submission(settings.home, max_length=outer.pop("length", 8)), **outer}
    return submit(check(raw, settings, database), database)


def limited(settings: Settings, **limits: int) -> Settings:
    return settings.model_copy(update=limits)


def test_unfinished_jobs_of_a_user(database: Database, settings: Settings) -> None:
    tight = limited(settings, max_jobs_per_user=2)
    first, _ = (submitted(database, tight, user="ada", length=n) for n in (8, 9))
    with pytest.raises(
        LimitError, match=r"ada already has 2 unfinished jobs; the limit is 2 .*MAX_JOBS"
    ):
        submitted(database, tight, user="ada", length=10)
    assert submitted(database, tight, user="ada", length=8) == first
    submitted(database, tight, user="bob", length=10)
    lifecycle.set_control(database, first, "cancel")
    lifecycle.sweep_jobs(database)
    submitted(database, tight, user="ada", length=10)


def test_a_limit_holds_where_the_check_was_earlier(database: Database, settings: Settings) -> None:
    tight = limited(settings, max_jobs_per_user=1)
    found = [check(raw_submission(settings.home, max_length=n), tight, database) for n in (8, 9)]
    submit(found[0], database)
    with pytest.raises(LimitError):
        submit(found[1], database)
    assert len(job_list.list_jobs(database)) == 1


def test_queued_examples_of_a_user(database: Database, settings: Settings) -> None:
    tight = limited(settings, max_queued_examples_per_user=10)
    job = submitted(database, tight, user="ada")
    with pytest.raises(LimitError, match=r"6 examples waiting; the 6 of this job would .* of 10"):
        submitted(database, tight, user="ada", length=9)
    planning.take_plans(database)
    assert planning.write_plan(database, job, Plan(bounds=[(0, 3), (3, 6)]))
    with database.write() as tx:
        tx.run("UPDATE shard SET state = 'done' WHERE shard_no = 0")
    submitted(database, tight, user="ada", length=9)


def test_a_user_may_have_exactly_as_many_examples_waiting(
    database: Database, settings: Settings
) -> None:
    tight = limited(settings, max_queued_examples_per_user=12)
    submitted(database, tight, user="ada")
    submitted(database, tight, user="ada", length=9)
    with pytest.raises(LimitError, match="12 examples waiting"):
        submitted(database, tight, user="ada", length=10)


def test_only_examples_without_a_result_wait(database: Database, settings: Settings) -> None:
    """Of the user's own jobs: another user's and a deleted one do not count."""
    tight = limited(settings, max_queued_examples_per_user=12)
    submitted(database, tight, user="bob")
    deleted = submitted(database, tight, user="ada", length=9)
    job = submitted(database, tight, user="ada", length=10)
    planning.take_plans(database)
    for number in (deleted, job):
        assert planning.write_plan(database, number, Plan(bounds=[(0, 1), (1, 3), (3, 6)]))
    with database.write() as tx:
        tx.run("UPDATE job SET state = 'deleting' WHERE id = :job", job=deleted)
        tx.run("UPDATE shard SET state = 'done' WHERE job_id = :job AND shard_no = 1", job=job)
    with pytest.raises(LimitError, match="4 examples waiting"):
        submitted(database, limited(tight, max_queued_examples_per_user=9), user="ada", length=11)


def test_examples_of_a_job(database: Database, settings: Settings) -> None:
    tight = limited(settings, max_examples_per_job=5)
    words = (
        "data.limit",
        "more than the 5 examples that a job may have",
        "HEADWISE_MAX_EXAMPLES_PER_JOB",
    )
    refused(lambda: submitted(database, tight), *words)


def test_deadlines_and_days_are_stored(database: Database, settings: Settings) -> None:
    when = datetime.now(UTC) + timedelta(hours=1)
    job = submitted(database, settings, deadline=when.isoformat(), keep_days=30)
    found = job_reads.get_job(database, job)
    assert found.deadline_at == pytest.approx(when.timestamp())
    assert (found.keep_days, found.keep_details_days) == (30, None)
    other = job_reads.get_job(database, submitted(database, settings, deadline=60, length=9))
    assert other.deadline_at is not None
    assert other.deadline_at < found.deadline_at


@pytest.mark.parametrize(
    ("deadline", "words"),
    [
        ("2001-01-01T00:00Z", "has passed already"),
        ("2031-01-01T00:00", "has no time zone"),
        ("soon", "neither a number of seconds nor a time"),
        (0, "more than 0"),
        (-3, "more than 0"),
        (1e12, "at most 31,536,000"),
        ("3600", "neither a number of seconds nor a time"),
        ([], "deadline"),
    ],
)
def test_bad_deadlines(database: Database, settings: Settings, deadline: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        submitted(database, settings, deadline=deadline)
    assert "deadline" in str(caught.value)
    assert words in str(caught.value)


def test_a_changed_priority_decides_what_runs_next(database: Database) -> None:
    planned_job(database)
    second = planned_job(database)
    change(database, second, {"priority": 5})
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert held.job_id == second


def test_what_cannot_be_changed(database: Database) -> None:
    job = planned_job(database)
    refused(lambda: change(database, job, {}), "change nothing")
    refused(lambda: change(database, job, []), "JSON object")
    refused(lambda: change(database, job, {"priority": 101}), "priority", "higher runs first")
    refused(lambda: change(database, job, {"priorty": 1}), "Did you mean 'priority'?")
    refused(lambda: change(database, job, {"keep_days": -1}), "keep_days")
    with pytest.raises(NotFoundError):
        change(database, 99, {"priority": 1})
    change(database, job, {"keep_days": 5, "keep_details_days": 1})
    change(database, job, {"keep_days": None})
    found = job_reads.get_job(database, job)
    assert (found.keep_days, found.keep_details_days, found.priority) == (None, 1, 0)
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    with pytest.raises(ConflictError, match="priority can no longer change"):
        change(database, job, {"priority": 1})
    change(database, job, {"keep_days": 0})
