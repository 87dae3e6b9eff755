"""Why a job waits: every cause, and nothing for a job that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState, SchedulerIdentity
from db.queue import claims, lifecycle
from db.reads import jobs as job_reads
from db.reads.waiting import Cause, reasons
from jobs.settings import Settings
from tests.helpers.databases import execute
from tests.helpers.jobs import ALICE, BOB, planned_job
from tests.helpers.queue import claim, finish_all


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
    alone = "Nothing runs on 2 workers of the queue default; it is next."
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
    assert message.endswith("; 3 jobs come first, of dora, emil and frida.")
    planned_job(database, 2, 2, user_name="gustav", priority=5)
    cause, message = why(database, third, settings) or ("", "")
    assert message.endswith("; 4 jobs come first, of dora, emil, frida and 1 more.")


def test_limits_of_users_and_queues(database: Database, settings: Settings) -> None:
    planned_job(database, 4, 2)
    other = planned_job(database, 4, 2)
    fleet.report_worker(database, ALICE, ProcessState.BUSY)
    claim(database)
    user = job_reads.get_job(database, other).user
    limited = settings.model_copy(update={"user_leases": 1})
    message = f"1 shard runs, and {user} may run 1 at a time."
    assert why(database, other, limited) == ("limit", message)
    limited = settings.model_copy(update={"queue_leases": 1})
    message = "1 shard runs, and the queue default may have 1 at a time."
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
    message = f"It is paused. `headwise resume {job}` lets it go on."
    assert why(database, job, settings) == (Cause.PAUSED, message)
    lifecycle.set_control(database, job, "resume")
    finish_all(database)
    assert why(database, job, settings) is None
