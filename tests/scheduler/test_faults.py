"""One job that raises at any step of the scheduler: the others end, and it says why it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db.database import Database
from db.kinds import KINDS
from db.ops import deletion, retention
from db.queue import claims, recurring
from db.queue.recovery import MAX_ERRORS
from db.reads import job_list
from db.reads import jobs as job_reads
from db.results.commit import commit_shard
from jobs.errors import NotFoundError
from jobs.settings import Settings
from jobs.states import JobState
from scheduler import loop
from scheduler.loop import Scheduler
from scheduler.submission import recurring as recurring_submission
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import raw_submission
from tests.helpers.jobs import ALICE, completed, planned_job
from tests.scheduler.conftest import FakeApp


class FaultError(Exception):
    """The error that a fault of the program would raise."""


@pytest.fixture
def scheduler(database: Database, settings: Settings, app: FakeApp) -> Scheduler:
    """A scheduler whose rounds are run by hand."""
    return Scheduler(settings, database, app)  # type: ignore[arg-type]


def execute(database: Database, statement: str) -> None:
    """Run a statement in a transaction of its own."""
    with database.write() as tx:
        tx.run(statement)


def raises_for(bad: int, original: Callable[..., Any], position: int) -> Callable[..., Any]:
    """The function, which raises for one job; `position` is where its number stands."""

    def call(*arguments: Any, **named: Any) -> Any:
        given = arguments[position]
        if getattr(given, "job_id", given) == bad:
            raise FaultError("a fault")
        return original(*arguments, **named)

    return call


def computed_job(database: Database) -> int:
    """A job whose shards are all done."""
    job_id = planned_job(database, examples=2, size=2)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert held.job_id == job_id
    assert commit_shard(database, held, completed(0, 2), "model")
    return job_id


def run_rounds(scheduler: Scheduler, count: int = MAX_ERRORS + 1) -> None:
    """Rounds between which every backoff passes."""
    for _ in range(count):
        scheduler.tick()
        execute(scheduler.database, "UPDATE job SET plan_at = 0")


def test_planning(
    scheduler: Scheduler, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = scheduler.database
    raw = raw_submission(settings.home)
    bad, good = (
        submit(
            check({**raw, "spec": {**raw["spec"], "edges": edges}}, settings, database), database
        )
        for edges in (3, 4)
    )
    monkeypatch.setattr(
        loop.planning, "plan_kind", raises_for(bad, loop.planning.plan_kind, position=1)
    )
    scheduler.tick()
    assert job_reads.get_job(database, good).state is JobState.RUNNING
    waiting = job_reads.get_job(database, bad)
    assert waiting.state is JobState.QUEUED
    assert waiting.error == "planning raised FaultError: a fault"
    run_rounds(scheduler)
    failed = job_reads.get_job(database, bad)
    assert failed.state is JobState.FAILED
    assert failed.error == "planning raised FaultError: a fault. Given up after 3 tries."


def test_finishing(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    database = scheduler.database
    bad, good = computed_job(database), computed_job(database)
    kind = KINDS["attribution"]
    broken = raises_for(bad, kind.finish, position=1)
    monkeypatch.setitem(KINDS, "attribution", type(kind)(**{**kind.__dict__, "finish": broken}))
    scheduler.tick()
    assert job_reads.get_job(database, good).state is JobState.SUCCEEDED
    waiting = job_reads.get_job(database, bad)
    assert waiting.state is JobState.FINALIZING
    assert waiting.error == "finishing raised FaultError: a fault"
    run_rounds(scheduler)
    failed = job_reads.get_job(database, bad)
    assert failed.state is JobState.FAILED
    assert failed.error == "finishing raised FaultError: a fault. Given up after 3 tries."


def test_finishing_succeeds_once_the_fault_has_passed(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = scheduler.database
    job_id = computed_job(database)
    kind = KINDS["attribution"]
    broken = raises_for(job_id, kind.finish, position=1)
    monkeypatch.setitem(KINDS, "attribution", type(kind)(**{**kind.__dict__, "finish": broken}))
    scheduler.tick()
    scheduler.tick()  # it waits: the fault is not tried at every round
    assert job_reads.get_job(database, job_id).state is JobState.FINALIZING
    monkeypatch.setitem(KINDS, "attribution", kind)
    run_rounds(scheduler, 2)
    job = job_reads.get_job(database, job_id)
    assert (job.state, job.error) == (JobState.SUCCEEDED, None)


def test_deleting(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    database = scheduler.database
    bad, good = computed_job(database), computed_job(database)
    scheduler.tick()
    execute(database, "UPDATE job SET state = 'deleting'")
    monkeypatch.setattr(deletion, "remove_rows", raises_for(bad, deletion.remove_rows, position=1))
    scheduler.tick()
    with pytest.raises(NotFoundError):
        job_reads.get_job(database, good)
    with database.read() as tx:
        assert [row.id for row in tx.run("SELECT id FROM job")] == [bad]


def test_purging(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    database = scheduler.database
    bad, good = computed_job(database), computed_job(database)
    scheduler.tick()
    for job_id in (bad, good):
        retention.purge(database, job_id)
    monkeypatch.setattr(deletion, "remove_rows", raises_for(bad, deletion.remove_rows, position=1))
    Scheduler(scheduler.settings, database, scheduler.app).tick()  # a new one: purging is due
    with database.read() as tx:
        left = tx.run("SELECT DISTINCT job_id FROM head_score").all()
    assert [row.job_id for row in left] == [bad]


def test_a_recurring_submission(
    scheduler: Scheduler, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = scheduler.database
    bad, good = (
        recurring_submission.add(
            {"cron": "* * * * *", "submission": raw_submission(settings.home), "name": name},
            settings,
            database,
        )
        for name in ("bad", "good")
    )
    execute(database, "UPDATE recurring SET next_at = next_at - 120")
    original = recurring_submission._checked

    def broken(due: Any, *arguments: Any) -> Any:
        if due.id == bad:
            raise FaultError("a fault")
        return original(due, *arguments)

    monkeypatch.setattr(recurring_submission, "_checked", broken)
    scheduler.tick()
    assert len(job_list.list_jobs(database)) == 1
    [run] = recurring.get(database, bad).runs
    assert run.error == "submitting raised FaultError: a fault"
    [run] = recurring.get(database, good).runs
    assert run.error is None


@pytest.mark.parametrize("step", ["dispatch", "_balance", "_retain", "_clean_up", "_expire"])
def test_a_step_that_raises_does_not_stop_the_round(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    database = scheduler.database
    job_id = computed_job(database)

    def broken() -> None:
        raise FaultError("a fault")

    broken.__name__ = step
    monkeypatch.setattr(scheduler, step, broken)
    scheduler.tick()
    assert job_reads.get_job(database, job_id).state is JobState.SUCCEEDED
