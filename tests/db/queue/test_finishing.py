"""Results are merged before the transaction that ends a job; things may happen in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from db import schema
from db.database import Database
from db.kinds import KINDS
from db.ops import deletion
from db.queue import claims, lifecycle
from db.results import commit
from db.transaction import Transaction
from jobs.errors import ConflictError
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import ALICE, completed, planned_job
from tests.helpers.queue import finish_all

RESULTS = (
    schema.importance,
    schema.ranking,
    schema.site_summary,
    schema.confusion,
    schema.strongest,
    schema.score_sample,
)
STATES = "SELECT id, state FROM job ORDER BY id"


def computed_job(database: Database) -> int:
    """A job whose shards are all done, and which is to be finished."""
    job = planned_job(database)
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    return job


def results(database: Database, job: int) -> list[list[Any]]:
    """The hash and the rows of a job's results, without its number."""
    found = [rows(database, f"SELECT result_hash FROM job WHERE id = {job}")]
    for table in RESULTS:
        names = ", ".join(f'"{column.name}"' for column in table.c if column.name != "job_id")
        query = f"SELECT {names} FROM {table.name} WHERE job_id = {job} ORDER BY {names}"
        found.append(rows(database, query))
    return found


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Let something happen once, after the next job's results are merged and before it ends."""
    kind = KINDS["attribution"]

    def let(happen: Callable[[], None]) -> None:
        left = [happen]

        def finish(tx: Transaction, job_id: int) -> Any:
            found = kind.finish(tx, job_id)
            while left:
                left.pop()()
            return found

        monkeypatch.setitem(KINDS, "attribution", replace(kind, finish=finish))

    return let


Meanwhile = Callable[[Callable[[], None]], None]


def test_others_write_while_a_job_is_merged(database: Database, meanwhile: Meanwhile) -> None:
    job = computed_job(database)
    meanwhile(lambda: execute(database, "UPDATE job SET name = 'another'"))
    assert lifecycle.finish_jobs(database) == [job]
    assert rows(database, "SELECT name, state FROM job") == [("another", "succeeded")]


def test_the_first_of_two_schedulers_ends_a_job(
    database: Database, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = planned_job(database)
    finish_all(database)
    job = computed_job(database)
    monkeypatch.setattr(Transaction, "try_lock", lambda *_: True)
    ended: list[Any] = []

    def other_scheduler() -> None:
        assert lifecycle.finish_jobs(database) == [job]
        ended.extend(rows(database, "SELECT * FROM job"))

    meanwhile(other_scheduler)
    assert lifecycle.finish_jobs(database) == []
    assert rows(database, "SELECT * FROM job") == ended
    assert results(database, job) == results(database, undisturbed)
    assert all(results(database, job))


def test_the_second_scheduler_leaves_a_job_to_the_first(
    database: Database, meanwhile: Meanwhile
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("it computes the same, and writes nothing")
    job = computed_job(database)
    second: list[list[int]] = []
    meanwhile(lambda: second.append(lifecycle.finish_jobs(database)))
    assert lifecycle.finish_jobs(database) == [job]
    assert second == [[]]


def test_a_job_that_is_cancelled_meanwhile_gets_no_results(
    database: Database, meanwhile: Meanwhile
) -> None:
    job = computed_job(database)
    meanwhile(lambda: lifecycle.set_control(database, job, "cancel"))
    assert lifecycle.finish_jobs(database) == []
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database) == []
    assert rows(database, STATES) == [(job, "cancelled")]
    assert results(database, job) == [[(None,)], *([] for _ in RESULTS)]


def test_a_job_that_is_deleted_meanwhile_leaves_nothing(
    database: Database, meanwhile: Meanwhile
) -> None:
    job = computed_job(database)

    def delete() -> None:
        lifecycle.set_control(database, job, "cancel")
        lifecycle.sweep_jobs(database)
        lifecycle.set_control(database, job, "delete")
        assert not deletion.is_pending(database)

    meanwhile(delete)
    assert lifecycle.finish_jobs(database) == []
    assert results(database, job) == [[] for _ in (None, *RESULTS)]


def test_a_job_that_is_being_finished_cannot_be_paused(
    database: Database, meanwhile: Meanwhile
) -> None:
    job = computed_job(database)

    def pause() -> None:
        with pytest.raises(ConflictError, match="is finalizing: pause is not possible now"):
            lifecycle.set_control(database, job, "pause")

    meanwhile(pause)
    assert lifecycle.finish_jobs(database) == [job]
    assert rows(database, STATES) == [(job, "succeeded")]


def test_another_scheduler_ends_the_job_of_one_that_was_killed(
    database: Database, meanwhile: Meanwhile
) -> None:
    undisturbed = planned_job(database)
    finish_all(database)
    job = computed_job(database)

    def die() -> None:
        raise SystemExit

    meanwhile(die)
    with pytest.raises(SystemExit):
        lifecycle.finish_jobs(database)
    assert rows(database, STATES)[-1] == (job, "finalizing")
    assert results(database, job) == [[(None,)], *([] for _ in RESULTS)]
    assert lifecycle.finish_jobs(database) == [job]
    assert results(database, job) == results(database, undisturbed)


def test_an_error_of_one_scheduler_does_not_undo_what_another_ended(
    database: Database, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = computed_job(database)
    monkeypatch.setattr(Transaction, "try_lock", lambda *_: True)

    def fail_late() -> None:
        assert lifecycle.finish_jobs(database) == [job]
        raise ValueError("a fault")

    meanwhile(fail_late)
    assert lifecycle.finish_jobs(database) == []
    assert rows(database, "SELECT state, error FROM job") == [("succeeded", None)]
    assert all(results(database, job))
