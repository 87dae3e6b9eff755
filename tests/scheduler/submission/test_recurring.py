"""Recurring jobs: each time is submitted once, and what went wrong is kept."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.database import Database
from db.queue import lifecycle, recurring
from db.reads import job_list
from jobs.errors import HubUnavailableError, NotFoundError
from jobs.settings import Settings
from scheduler.submission import recurring as recurring_module
from scheduler.submission.recurring import add, control, submit_due
from tests.helpers.inputs import raw_submission, refused


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def added(database: Database, settings: Settings, **changes: Any) -> int:
    raw = {"cron": "0 3 * * *", "submission": raw_submission(settings.home), **changes}
    return add(raw, settings, database)


def is_due(database: Database, number: int, since: timedelta = timedelta(minutes=1)) -> float:
    """Make the time come; returns it."""
    when = recurring.now(database) - since.total_seconds()
    execute(database, f"UPDATE recurring SET next_at = {when!r} WHERE id = {number}")
    return when


def test_adding_submits_nothing_yet(database: Database, settings: Settings) -> None:
    number = added(database, settings, zone="Europe/Berlin", name="nightly")
    found = recurring.get(database, number)
    assert (found.name, found.cron, found.zone, found.runs) == (
        "nightly",
        "0 3 * * *",
        "Europe/Berlin",
        (),
    )
    assert found.next_at is not None
    assert 0 < found.next_at - recurring.now(database) <= 25 * 3600
    assert not lifecycle.pending_work(database).recur
    submit_due(settings, database)
    assert len(job_list.list_jobs(database)) == 0


def test_a_time_that_has_come_is_submitted_once(database: Database, settings: Settings) -> None:
    number = added(database, settings, cron="* * * * *", name="often")
    is_due(database, number)
    assert lifecycle.pending_work(database).recur
    submit_due(settings, database)
    submit_due(settings, database)
    [job] = job_list.list_jobs(database)
    assert (job.state.value, job.examples) == ("queued", 6)
    found = recurring.get(database, number)
    [run] = found.runs
    assert (run.job_id, run.error, run.state) == (job.id, None, "queued")
    assert found.next_at is not None
    assert found.next_at > recurring.now(database) - 1
    assert not lifecycle.pending_work(database).recur
    # The next time finds that work unfinished, and adds none.
    is_due(database, number, timedelta(seconds=-0.0))
    submit_due(settings, database)
    assert len(job_list.list_jobs(database)) == 1


def test_several_schedulers_at_once(database: Database, settings: Settings) -> None:
    numbers = [
        added(database, settings, submission=raw_submission(settings.home, max_length=n))
        for n in (8, 9)
    ]
    for number in numbers:
        is_due(database, number)
    dues = recurring.find_due(database)
    threads = [threading.Thread(target=submit_due, args=(settings, database)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(job_list.list_jobs(database)) == 2
    assert [len(recurring.get(database, number).runs) for number in numbers] == [1, 1]
    # One that has read before, and writes only now, changes nothing.
    assert recurring.take(database, dues[0], dues[0].now, dues[0].now + 60, "late") is None
    assert len(recurring.get(database, numbers[0]).runs) == 1


def test_after_a_downtime_only_the_last_time_is_made_up_for(
    database: Database, settings: Settings
) -> None:
    number = added(database, settings, cron="0 * * * *")
    first = is_due(database, number, timedelta(days=3))
    submit_due(settings, database)
    found = recurring.get(database, number)
    [run] = found.runs
    now = recurring.now(database)
    assert run.missed_since == pytest.approx(first)
    assert now - 3700 < run.due_at <= now
    assert found.next_at is not None
    assert now < found.next_at <= now + 3600
    assert len(job_list.list_jobs(database)) == 1


def test_data_that_is_gone_is_noted_and_the_next_time_is_tried(
    database: Database, settings: Settings
) -> None:
    number = added(database, settings, cron="0 * * * *")
    data = settings.home / "pairs.jsonl"
    kept = data.read_bytes()
    data.unlink()
    is_due(database, number)
    submit_due(settings, database)
    found = recurring.get(database, number)
    assert "data.path" in str(found.runs[0].error)
    assert len(job_list.list_jobs(database)) == 0
    assert found.next_at is not None
    assert found.next_at > recurring.now(database)
    data.write_bytes(kept)
    is_due(database, number, timedelta(0))
    execute(database, f"UPDATE recurring_run SET due_at = 1 WHERE recurring_id = {number}")
    submit_due(settings, database)
    assert [run.error is None for run in recurring.get(database, number).runs] == [True, False]


def test_limits_are_noted_too(database: Database, settings: Settings) -> None:
    tight = settings.model_copy(update={"max_examples_per_job": 5})
    number = added(database, settings)
    is_due(database, number)
    submit_due(tight, database)
    assert "HEADWISE_MAX_EXAMPLES_PER_JOB" in str(recurring.get(database, number).runs[0].error)


def test_a_hub_that_does_not_answer_is_asked_again_for_the_same_time(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise HubUnavailableError("the hub does not answer")

    number = added(database, settings)
    when = is_due(database, number)
    with monkeypatch.context() as patched:
        patched.setattr(recurring_module, "check", away)
        submit_due(settings, database)
    found = recurring.get(database, number)
    assert (found.runs, found.error) == ((), "the hub does not answer")
    assert found.next_at == pytest.approx(when)
    assert not lifecycle.pending_work(database).recur
    execute(database, "UPDATE recurring SET retry_at = 0")
    submit_due(settings, database)
    found = recurring.get(database, number)
    assert (len(found.runs), found.error) == (1, None)


def test_pause_resume_and_remove(database: Database, settings: Settings) -> None:
    number = added(database, settings)
    control(database, number, "pause")
    is_due(database, number)
    submit_due(settings, database)
    assert len(job_list.list_jobs(database)) == 0
    control(database, number, "resume")
    found = recurring.get(database, number)
    assert not found.paused
    assert found.next_at is not None
    assert found.next_at > recurring.now(database), "what was due meanwhile is not made up for"
    is_due(database, number)
    submit_due(settings, database)
    control(database, number, "remove")
    assert len(job_list.list_jobs(database)) == 1
    assert recurring.find(database) == []
    for action in ("pause", "resume", "remove"):
        with pytest.raises(NotFoundError):
            control(database, number, action)
    refused(lambda: control(database, number, "stop"), "action", "unknown")


def test_bad_submissions_are_refused_when_they_are_added(
    database: Database, settings: Settings
) -> None:
    raw = raw_submission(settings.home, data={"path": "/nowhere.jsonl"})
    refused(lambda: added(database, settings, submission=raw), "submission.data.path")
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    raw = {**raw_submission(settings.home), "deadline": late}
    words = ("submission.deadline", "Give seconds")
    refused(lambda: added(database, settings, submission=raw), *words)
    assert recurring.find(database) == []


def test_old_runs_are_forgotten(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurring, "RUNS_KEPT", 3)
    number = added(database, settings)
    for due_at in range(5):
        execute(
            database,
            "INSERT INTO recurring_run (recurring_id, due_at, ran_at) "
            f"VALUES ({number}, {due_at}, {due_at})",
        )
    is_due(database, number)
    submit_due(settings, database)
    runs = recurring.get(database, number, runs=100).runs
    assert [run.due_at for run in runs][1:] == [4, 3]
