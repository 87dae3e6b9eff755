"""A job's status, and why it waits: every cause, and nothing for a job that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState, SchedulerIdentity
from db.queue import claims, lifecycle
from db.reads import jobs as job_reads
from db.reads import versions
from db.reads.status import Cause, Phase, Status, reasons, status_of
from db.results import commit
from jobs.settings import Settings
from jobs.states import JobState
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import ALICE, BOB, completed, planned_job
from tests.helpers.queue import claim, finish, finish_all


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def why(database: Database, job: int, settings: Settings) -> tuple[str, str] | None:
    """Cause and sentence of a job."""
    found = reasons(database, [job_reads.get_job(database, job)], settings).get(job)
    return found and (found.cause.value, found.message)


def test_behind_the_jobs_of_others(database: Database, settings: Settings) -> None:
    first = planned_job(database, 6, 2, user_name="anna")
    second = planned_job(database, 6, 2, user_name="boris")
    third = planned_job(database, 2, 2, user_name="clara")
    cause, message = why(database, first, settings) or ("", "")
    assert (cause, message[:40]) == ("workers", "No worker serves the queue default: star")
    assert message.endswith("`headwise worker --queues default`.")
    for who in (ALICE, BOB):
        fleet.report_worker(database, who, ProcessState.IDLE)
    alone = "Nothing is running on 2 workers of the queue default; it is next."
    assert why(database, first, settings) == ("others", alone)
    held = [claim(database), claim(database)]
    assert [one.job_id for one in held] == [first, second]
    assert why(database, first, settings) is None
    message = "2 shards of anna and boris run on 2 workers of the queue default; it is next."
    assert why(database, third, settings) == ("others", message)
    # More work of others with a higher priority.
    for user in ("dora", "emil", "frida"):
        planned_job(database, 2, 2, user_name=user, priority=5)
    cause, message = why(database, third, settings) or ("", "")
    assert message.endswith("; 3 jobs of dora, emil and frida come first.")
    planned_job(database, 2, 2, user_name="gustav", priority=5)
    cause, message = why(database, third, settings) or ("", "")
    assert message.endswith("; 4 jobs of dora, emil, frida and 1 more come first.")


def test_limits_of_users_and_queues(database: Database, settings: Settings) -> None:
    planned_job(database, 4, 2)
    other = planned_job(database, 4, 2)
    fleet.report_worker(database, ALICE, ProcessState.BUSY)
    claim(database)
    user = job_reads.get_job(database, other).user
    limited = settings.model_copy(update={"user_leases": 1})
    message = f"1 shard runs; {user} may run at most 1 at a time."
    assert why(database, other, limited) == ("limit", message)
    limited = settings.model_copy(update={"queue_leases": 1})
    message = "1 shard runs; the queue default may have at most 1 at a time."
    assert why(database, other, limited) == ("limit", message)


def test_the_next_try_after_an_error(database: Database, settings: Settings) -> None:
    job = planned_job(database, 2, 2)
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
    claims.record_error(database, claim(database), "out of memory")
    cause, message = why(database, job, settings) or ("", "")
    assert cause == "error"
    assert message.startswith("It is tried again in ")
    assert message.endswith(", after an error: out of memory.")


def test_before_it_is_planned(database: Database, settings: Settings) -> None:
    parent = planned_job(database)
    child = planned_job(database)
    execute(database, f"UPDATE job SET state = 'queued', plan_at = 0 WHERE id = {child}")
    cause, message = why(database, child, settings) or ("", "")
    assert (cause, message[:27]) == ("scheduler", "No scheduler is running: jo")
    who = SchedulerIdentity(name="s", host="h", pid=1, broker="b", heartbeat_seconds=10)
    report: dict[str, Any] = {"doing": None, "broker_error": None, "still": 0.0}
    fleet.report_scheduler(database, who, state=ProcessState.RUNNING, **report)
    message = "A scheduler is about to read its data."
    assert why(database, child, settings) == ("scheduler", message)
    execute(database, f"INSERT INTO job_parent (job_id, parent_id) VALUES ({child}, {parent})")
    assert why(database, child, settings) == ("parents", f"It is waiting for job {parent}.")
    execute(database, f"DELETE FROM job_parent WHERE job_id = {child}")
    away = "plan_at = 4000000000, plan_tries = 2, error = 'It is away.'"
    execute(database, f"UPDATE job SET {away} WHERE id = {child}")
    cause, message = why(database, child, settings) or ("", "")
    assert cause == "hub"
    assert message.startswith("It is waiting for the hub, next try at ")
    assert message.endswith(" It is away.")


def test_paused_or_ended(database: Database, settings: Settings) -> None:
    job = planned_job(database)
    lifecycle.set_control(database, job, "pause")
    message = f"It is paused. Run `headwise resume {job}` to resume it."
    assert why(database, job, settings) == (Cause.PAUSED, message)
    execute(database, f"UPDATE shard SET progress = 2 WHERE job_id = {job} AND lo = 0")
    examples = job_reads.get_job(database, job).examples
    _, message = why(database, job, settings) or ("", "")
    assert message.startswith(f"It is paused at 2 examples of {examples}, which are kept.")
    execute(database, f"UPDATE shard SET state = 'leased' WHERE job_id = {job} AND lo = 0")
    _, message = why(database, job, settings) or ("", "")
    assert message.startswith("It is paused; its workers finish their batch, which is kept.")
    execute(database, f"UPDATE shard SET state = 'ready', progress = 0 WHERE job_id = {job}")
    lifecycle.set_control(database, job, "resume")
    finish_all(database)
    assert why(database, job, settings) is None


def status(database: Database, job: int, settings: Settings) -> Status:
    return status_of(database, job_reads.get_job(database, job), settings)


def test_thirty_jobs_and_one_worker(database: Database, settings: Settings) -> None:
    jobs = [planned_job(database, 4, 2) for _ in range(30)]
    assert status(database, jobs[0], settings).words == "waiting (no worker)"
    fleet.report_worker(database, ALICE, ProcessState.BUSY)
    claim(database)
    words = [status(database, job, settings).words for job in jobs]
    assert words[:4] == [
        f"executing on {ALICE.host}",
        "waiting (2nd in queue)",
        "waiting (3rd in queue)",
        "waiting (4th in queue)",
    ]
    assert words[-1] == "waiting (30th in queue)"
    assert job_reads.get_job(database, jobs[0]).state is JobState.RUNNING


def test_the_machines_that_execute_a_job(database: Database, settings: Settings) -> None:
    job = planned_job(database, 8, 2)
    for host, name in (("gpu-1", "a"), ("gpu-1", "b"), ("gpu-2", "c"), ("gpu-3", "d")):
        who = replace(ALICE, name=name, host=host)
        fleet.report_worker(database, who, ProcessState.BUSY)
        claim(database, who=who)
        found = status(database, job, settings)
        assert found.phase is Phase.EXECUTING
    assert found.hosts == ("gpu-1", "gpu-2", "gpu-3")
    assert found.words == "executing on 3 machines"
    execute(database, "UPDATE shard SET state = 'ready' WHERE owner = 'd'")
    assert status(database, job, settings).words == "executing on gpu-1 and gpu-2"


def test_a_pause_takes_until_workers_stop(database: Database, settings: Settings) -> None:
    job = planned_job(database, 4, 2)
    held = claim(database)
    lifecycle.set_control(database, job, "pause")
    assert status(database, job, settings).words == f"pausing on {ALICE.name}"  # never reported
    claims.hand_back(database, held, "paused")
    assert status(database, job, settings).words == "paused"


def test_before_and_after_it_runs(database: Database, settings: Settings) -> None:
    parent, child = planned_job(database, 2, 2), planned_job(database, 2, 2)
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
    execute(database, f"UPDATE job SET state = 'queued', plan_at = 0 WHERE id = {child}")
    assert status(database, child, settings).words == "waiting for a scheduler"
    execute(database, f"INSERT INTO job_parent (job_id, parent_id) VALUES ({child}, {parent})")
    assert status(database, child, settings).words == f"waiting for job {parent}"
    assert status(database, parent, settings).words == "waiting (next in queue)"
    claims.record_error(database, claim(database), "out of memory")
    assert status(database, parent, settings).words == "waiting (retry after an error)"
    execute(database, f"UPDATE shard SET state = 'done' WHERE job_id = {parent}")
    assert status(database, parent, settings).words == "finalizing"
    execute(database, f"UPDATE job SET state = 'succeeded', finished_at = 1 WHERE id = {parent}")
    assert status(database, parent, settings) == Status(phase=Phase.SUCCEEDED, words="succeeded")


def test_the_version_of_a_list_follows_the_queue(database: Database, settings: Settings) -> None:
    first, second, third = (planned_job(database, 2, 2) for _ in range(3))
    seen = versions.of_jobs(database, [third], settings.heartbeat_seconds)
    assert versions.of_jobs(database, [third], settings.heartbeat_seconds) == seen
    claim(database)
    moved = versions.of_jobs(database, [third], settings.heartbeat_seconds)
    assert moved != seen
    lifecycle.set_control(database, second, "pause")
    assert versions.of_jobs(database, [third], settings.heartbeat_seconds) != moved
    assert job_reads.get_job(database, first).leases == 1


def attempts_at(database: Database, *spans: tuple[float, float, str]) -> None:
    """Compute a shard for each span of time and worker."""
    for start, end, worker in spans:
        held = claim(database)
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
        execute(
            database,
            f"UPDATE attempt SET started_at = {1e9 + start}, finished_at = {1e9 + end}, "
            f"worker = '{worker}', seconds = 4 WHERE shard_no = {held.shard_no}",
        )


PAUSED_BETWEEN = ((0, 10, "a"), (5, 15, "b"), (100, 105, "a"), (100, 104, "b"))


def test_paused_time_does_not_count(database: Database) -> None:
    job = planned_job(database, 8, 2)
    assert job_reads.get_job(database, job).elapsed is None
    attempts_at(database, *PAUSED_BETWEEN)
    found = job_reads.get_job(database, job)
    assert (found.elapsed, found.compute) == pytest.approx((20.0, 29.0))
    finish(database)
    found = job_reads.get_job(database, job)
    assert found.state is JobState.SUCCEEDED
    assert (found.elapsed, found.compute) == pytest.approx((20.0, 29.0))
    assert found.rate == pytest.approx(8 / 20)
    (stored,) = rows(database, "SELECT elapsed_seconds, compute_seconds FROM job")
    assert stored == pytest.approx((20.0, 29.0))


def test_times_of_cancelled_jobs_are_stored(database: Database) -> None:
    job = planned_job(database, 8, 2)
    other = planned_job(database, 8, 2)
    attempts_at(database, *PAUSED_BETWEEN[:2])
    for one in (job, other):
        lifecycle.set_control(database, one, "cancel")
    finish(database)
    stored = rows(database, "SELECT state, elapsed_seconds, compute_seconds FROM job ORDER BY id")
    assert stored == [("cancelled", pytest.approx(15), pytest.approx(20)), ("cancelled", 0, 0)]


def test_time_is_left_while_a_worker_holds_a_shard(database: Database) -> None:
    job = planned_job(database, 10, 2)
    attempts_at(database, *PAUSED_BETWEEN)
    assert job_reads.get_job(database, job).remaining is None
    held = claim(database)
    # The first piece of each worker counts without loading the model: 4, 4, 5 and 4 s for 2 each.
    left = job_reads.get_job(database, job).remaining
    assert left is not None
    assert (left.low, left.middle, left.high) == pytest.approx((3.33, 4.25, 5.17), abs=0.01)
    lifecycle.set_control(database, job, "pause")
    assert job_reads.get_job(database, job).remaining is None
    claims.hand_back(database, held, "paused")
