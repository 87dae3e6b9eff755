"""Deadlines: a job that is late ends with what there is, and says so."""

from __future__ import annotations

from typing import Any

import pytest

from db.database import Database
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.ask import WorkerIdentity
from db.queue.new_jobs import NewJob
from db.queue.planning import Plan
from db.reads import jobs as job_reads
from db.results import commit
from jobs.errors import ConflictError
from jobs.states import JobState
from tests.helpers.jobs import ALICE, BOB, completed, job_values, planned_job


def late(database: Database, job: int, seconds: float = 1.0) -> None:
    """Set a job's deadline to so many seconds ago, and let the scheduler look."""
    with database.write() as tx:
        past = "UPDATE job SET deadline_at = {clock} - :seconds WHERE id = :job"
        tx.run(past, seconds=seconds, job=job)
    assert seconds < 0 or lifecycle.pending_work(database).sweep
    lifecycle.sweep_jobs(database)


def state(database: Database, job: int) -> str:
    return job_reads.get_job(database, job).state.value


def shard_states(database: Database) -> list[Any]:
    with database.read() as tx:
        found = tx.run("SELECT state FROM shard ORDER BY shard_no").scalars()
        return list(found)


def claim(database: Database, who: WorkerIdentity = ALICE) -> claims.Claim:
    held = claims.claim(database, who, 60)
    assert held is not None
    return held


def test_what_is_done_is_kept_and_said_to_be_partial(database: Database) -> None:
    job = planned_job(database)
    held = claim(database)
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    running = claim(database)
    late(database, job)
    assert state(database, job) == "stopping"
    assert shard_states(database) == ["done", "leased", "cancelled"]
    assert claims.renew(database, running, 1, 60) == "pause"
    assert lifecycle.finish_jobs(database) == []
    claims.hand_back(database, running, "cancelled")
    lifecycle.sweep_jobs(database)
    assert lifecycle.finish_jobs(database) == [job]
    ended = job_reads.get_job(database, job)
    assert (ended.state, ended.examples_done) == (JobState.FAILED, 2)
    assert ended.error is not None
    assert "passed: the results are partial, 4 of 6 examples are missing" in ended.error
    with database.read() as tx:
        counted = tx.run("SELECT DISTINCT n FROM head_importance").scalars()
        assert list(counted) == [2]


def test_a_shard_that_is_lost_or_fails_meanwhile_is_not_run_again(database: Database) -> None:
    job = planned_job(database, size=3)
    lost, broken = claim(database), claim(database, BOB)
    late(database, job)
    claims.record_error(database, broken, "boom")
    with database.write() as tx:
        tx.run("UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    assert [one.shard_no for one in lifecycle.expire_leases(database)] == [lost.shard_no]
    assert claims.claim(database, ALICE, 60) is None
    lifecycle.sweep_jobs(database)
    assert shard_states(database) == ["cancelled", "cancelled"]
    lifecycle.finish_jobs(database)
    assert "6 of 6 examples are missing" in str(job_reads.get_job(database, job).error)


def test_a_last_commit_in_time_to_stop_makes_the_job_whole(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claim(database)
    late(database, job)
    assert state(database, job) == "stopping"
    assert commit.commit_shard(database, held, completed(0, 2), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    ended = job_reads.get_job(database, job)
    assert (ended.state, ended.error) == (JobState.SUCCEEDED, None)


def test_a_job_whose_shards_are_done_is_not_late(database: Database) -> None:
    job = planned_job(database, examples=2)
    assert commit.commit_shard(database, claim(database), completed(0, 2), "model")
    late(database, job)
    lifecycle.finish_jobs(database)
    assert state(database, job) == "succeeded"


def test_a_paused_job_is_stopped_too_and_a_stopping_one_can_be_cancelled(
    database: Database,
) -> None:
    job = planned_job(database)
    held = claim(database)
    lifecycle.set_control(database, job, "pause")
    late(database, job)
    assert state(database, job) == "stopping"
    for action in ("pause", "resume", "delete"):
        with pytest.raises(ConflictError):
            lifecycle.set_control(database, job, action)
    lifecycle.set_control(database, job, "cancel")
    claims.hand_back(database, held, "cancelled")
    lifecycle.sweep_jobs(database)
    assert state(database, job) == "cancelled"


def test_a_job_that_never_started_fails_and_so_do_those_that_need_it(database: Database) -> None:
    rest = [(0, "a", None, "h", None)]
    job = new_jobs.create_job(database, job_values(examples=1), rest)
    child = new_jobs.create_job(database, job_values(examples=1), rest, [job])
    unplanned = new_jobs.create_job(database, job_values(examples=1), rest)
    planning.take_plans(database)
    late(database, job)
    late(database, unplanned)
    for late_one in (job, unplanned):
        assert "before it was planned" in str(job_reads.get_job(database, late_one).error)
    assert f"job {job}, which this needs, failed" in str(job_reads.get_job(database, child).error)
    assert not planning.write_plan(database, unplanned, Plan(bounds=[(0, 1)]))


def test_a_deadline_to_come_changes_nothing(database: Database) -> None:
    job = planned_job(database)
    late(database, job, seconds=-3600)
    assert state(database, job) == "running"


def test_seconds_count_from_the_submission_by_the_databases_clock(database: Database) -> None:
    new = NewJob(values=job_values(), examples=None, deadline_seconds=3600)
    job = new_jobs.write_jobs(database, lambda tx: new_jobs.write_job(tx, new))
    found = job_reads.get_job(database, job)
    assert found.deadline_at is not None
    assert found.deadline_at - found.created_at == pytest.approx(3600, abs=5)
