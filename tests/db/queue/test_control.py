"""Pause, resume, cancel and delete, whenever they are asked for."""

from __future__ import annotations

import pytest

from db.database import Database
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.planning import Plan
from db.results import commit
from jobs.errors import ConflictError, NotFoundError
from tests.helpers.databases import one, rows
from tests.helpers.jobs import (
    ALICE,
    completed,
    job_values,
    planned_job,
)
from tests.helpers.queue import (
    LEASE,
    claim,
    expire_now,
    finish_all,
)


def test_a_paused_job_gives_no_shards_until_it_is_resumed(database: Database) -> None:
    job = planned_job(database)
    lifecycle.set_control(database, job, "pause")
    assert one(database, "SELECT state FROM jobs") == "paused"
    assert claims.claim(database, ALICE, LEASE) is None
    lifecycle.set_control(database, job, "resume")
    finish_all(database)
    assert one(database, "SELECT state FROM jobs") == "succeeded"


def test_a_job_paused_before_planning_stays_paused(database: Database) -> None:
    job = new_jobs.create_job(database, job_values(examples=2), [(0, "a", None, "", None)] * 2)
    lifecycle.set_control(database, job, "pause")
    planning.take_plans(database)
    planning.write_plan(database, job, Plan(bounds=[(0, 2)]))
    assert one(database, "SELECT state FROM jobs") == "paused"


def test_the_last_commit_of_a_paused_job_finishes_it(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claim(database)
    lifecycle.set_control(database, job, "pause")
    assert commit.commit_shard(database, held, completed(0, 2), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "succeeded"


def test_cancel_stops_ready_shards_and_waits_for_leased_ones(database: Database) -> None:
    job = planned_job(database)
    held = claim(database)
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "cancelling"
    claims.hand_back(database, held, "cancel")
    lifecycle.sweep_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "cancelled"
    assert rows(database, "SELECT DISTINCT state FROM shards") == [("cancelled",)]


def test_cancel_of_a_job_whose_worker_died(database: Database) -> None:
    job = planned_job(database, examples=2)
    claim(database)
    lifecycle.set_control(database, job, "cancel")
    expire_now(database)
    lifecycle.sweep_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "cancelled"


def test_cancel_racing_the_last_commit_keeps_the_commit(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claim(database)
    lifecycle.set_control(database, job, "cancel")
    assert commit.commit_shard(database, held, completed(0, 2), "model")
    lifecycle.sweep_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "cancelled"
    assert one(database, "SELECT state FROM shards") == "done"


@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
def test_a_final_job_refuses_control(database: Database, action: str) -> None:
    job = planned_job(database)
    finish_all(database)
    with pytest.raises(ConflictError, match="succeeded"):
        lifecycle.set_control(database, job, action)


def test_control_of_an_unknown_job(database: Database) -> None:
    with pytest.raises(NotFoundError, match="99"):
        lifecycle.set_control(database, 99, "pause")


def test_delete_needs_a_final_job_and_leaves_nothing(database: Database) -> None:
    job, other = planned_job(database), planned_job(database)
    with pytest.raises(ConflictError, match="cancel it before"):
        lifecycle.set_control(database, job, "delete")
    finish_all(database)
    lifecycle.set_control(database, job, "delete")
    tables = ("job", "shard", "attempt", "example", "example_result", "head_score", "edge", "site")
    for table in (*tables, "site_result", "shard_sum", "importance"):
        key = "id" if table == "job" else "job_id"
        assert rows(database, f"SELECT DISTINCT {key} FROM {table}") == [(other,)], table
