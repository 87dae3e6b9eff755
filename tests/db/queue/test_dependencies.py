"""Jobs that need others: the contract of waiting, failing, cancelling and deleting."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from db.database import Database
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.new_jobs import NewJob
from db.reads import job_list, studies
from db.reads import jobs as job_reads
from db.results import commit
from jobs.errors import ConflictError, NotFoundError
from jobs.states import JobState
from tests.helpers.jobs import ALICE, completed, job_values, planned_job

ROWS = [(0, "a", None, "", None)] * 2


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def child(database: Database, *parents: int, **changes: Any) -> int:
    return new_jobs.create_job(database, job_values(examples=2, **changes), ROWS, parents)


def state(database: Database, job: int) -> str:
    return job_reads.get_job(database, job).state.value


def planned(database: Database) -> list[int]:
    return [request.job_id for request in planning.take_plans(database)]


def finish(database: Database) -> None:
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)


def test_a_child_is_planned_when_every_parent_has_succeeded(database: Database) -> None:
    first = planned_job(database)
    second = planned_job(database)
    job = child(database, first, second)
    assert not lifecycle.pending_work(database).plan
    assert planned(database) == []
    found = job_reads.get_job(database, job)
    assert found.waiting == f"waiting for job {first} and {second}"
    assert found.parents == ((first, JobState.RUNNING), (second, JobState.RUNNING))
    execute(database, f"UPDATE job SET state = 'succeeded' WHERE id = {first}")
    assert planned(database) == []
    assert job_reads.get_job(database, job).waiting == f"waiting for job {second}"
    finish(database)
    assert lifecycle.pending_work(database).plan
    assert planned(database) == [job]
    assert job_reads.get_job(database, job).waiting is None
    assert job_reads.list_children(database, first) == [job]


def test_a_failed_parent_fails_its_children_and_theirs_with_the_reason(database: Database) -> None:
    parent = planned_job(database)
    job = child(database, parent)
    grandchild = child(database, job)
    stranger = child(database)
    execute(database, f"UPDATE job SET state = 'failed', error = 'no luck' WHERE id = {parent}")
    assert lifecycle.pending_work(database).sweep
    lifecycle.sweep_jobs(database)
    reason = f"job {parent}, which this needs, failed: no luck"
    assert job_reads.get_job(database, job).error == reason
    assert job_reads.get_job(database, grandchild).error == (
        f"job {job}, which this needs, failed: {reason}"
    )
    assert state(database, grandchild) == "failed"
    assert state(database, stranger) == "queued"
    assert not lifecycle.pending_work(database).sweep


def test_a_parent_that_was_cancelled_before_the_child_was_written(database: Database) -> None:
    parent = planned_job(database)
    lifecycle.set_control(database, parent, "cancel")
    job = child(database, parent)
    lifecycle.sweep_jobs(database)
    assert job_reads.get_job(database, job).error == (
        f"job {parent}, which this needs, was cancelled"
    )


def test_cancelling_cascades_to_everything_that_needs_the_job(database: Database) -> None:
    parent = planned_job(database)
    job = child(database, parent)
    grandchild = child(database, job)
    stranger = child(database)
    lifecycle.set_control(database, parent, "cancel")
    lifecycle.sweep_jobs(database)
    assert [state(database, n) for n in (parent, job, grandchild)] == ["cancelled"] * 3
    assert state(database, stranger) == "queued"


def test_cancelling_a_child_leaves_its_parent(database: Database) -> None:
    parent = planned_job(database)
    job = child(database, parent)
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    assert (state(database, parent), state(database, job)) == ("running", "cancelled")


def test_a_paused_child_waits_as_well(database: Database) -> None:
    parent = planned_job(database)
    job = child(database, parent)
    lifecycle.set_control(database, job, "pause")
    assert planned(database) == []
    execute(database, f"UPDATE job SET state = 'failed' WHERE id = {parent}")
    lifecycle.sweep_jobs(database)
    assert state(database, job) == "failed"


def test_a_job_that_others_wait_for_cannot_be_deleted(database: Database) -> None:
    parent = planned_job(database)
    finish(database)
    job = child(database, parent)
    with pytest.raises(ConflictError, match=f"Job {job} needs job {parent}"):
        lifecycle.set_control(database, parent, "delete")
    execute(database, f"UPDATE job SET state = 'succeeded' WHERE id = {job}")
    lifecycle.set_control(database, parent, "delete")
    assert job_reads.get_job(database, job).parents == ()


def step(number: int, *parents: int) -> NewJob:
    values = job_values(dedupe_key=f"step {number}", examples=2, data_fingerprint="rows")
    return NewJob(values=values, examples=ROWS, parents=parents, reuse_since=0.0)


def write_study(database: Database) -> tuple[int, dict[str, int]]:
    def job(name: str, numbers: Any) -> NewJob:
        return step(0) if name == "first" else step(1, numbers["first"])

    return studies.write_study(database, "paper", "ada", ("first", "second"), job)


def test_a_study_writes_its_jobs_together(database: Database) -> None:
    number, jobs = write_study(database)
    assert list(jobs) == ["first", "second"]
    assert job_reads.get_job(database, jobs["second"]).waiting == f"waiting for job {jobs['first']}"
    found = studies.get_study(database, number)
    assert (found.name, found.user, found.steps) == ("paper", "ada", jobs)
    again, same = write_study(database)
    assert same == jobs
    assert [study.id for study in studies.list_studies(database)] == [again, number]


def test_the_same_study_twice_at_once_is_one_set_of_jobs(database: Database) -> None:
    found: list[dict[str, int]] = []
    threads = [
        threading.Thread(target=lambda: found.append(write_study(database)[1])) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2]


def test_a_study_that_cannot_be_written_leaves_nothing(database: Database) -> None:
    def job(name: str, _numbers: Any) -> NewJob:
        if name == "second":
            raise ValueError("no")
        return step(0)

    with pytest.raises(ValueError, match="no"):
        studies.write_study(database, "paper", "ada", ("first", "second"), job)
    assert job_list.list_jobs(database) == []
    with pytest.raises(NotFoundError, match="no study 1"):
        studies.get_study(database, 1)


def test_a_study_goes_with_its_last_job(database: Database) -> None:
    _, jobs = write_study(database)
    execute(database, "UPDATE job SET state = 'succeeded'")
    lifecycle.set_control(database, jobs["second"], "delete")
    assert studies.list_studies(database)[0].steps == {"first": jobs["first"]}
    lifecycle.set_control(database, jobs["first"], "delete")
    assert studies.list_studies(database) == []
