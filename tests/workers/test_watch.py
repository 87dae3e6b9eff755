"""Real processes: a killed worker shows as dead, its log stays; a hung shard shows as stalled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from db.database import Database
from db.ops import fleet, logs
from db.ops.conditions import notices
from db.queue import claims
from jobs.settings import load_settings
from tests.helpers.jobs import ALICE, planned_job
from tests.helpers.stack import Stack
from workers.heartbeat import WorkerHeartbeat


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    stack = Stack(
        tmp_path, database_url=url, heartbeat_seconds=1, lease_seconds=4, log_format="json"
    )
    yield stack
    stack.stop()


def conditions(stack: Stack) -> dict[int, str]:
    return {one.pid: one.condition for one in fleet.list_workers(stack.database, stack.settings)}


def said(stack: Stack) -> set[str]:
    return {notice.what for notice in notices(stack.database, stack.settings)}


def test_a_killed_worker_is_seen_dead_and_its_log_stays(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(stack) == {"scheduler"}
    scheduler = stack.start("scheduler")
    stack.start("worker")
    job = stack.submit(600, integration="gauss-legendre:64")  # more than this test waits for
    stack.wait_for("SELECT COUNT(*) FROM shards WHERE state = 'leased' AND progress > 0", 1)
    killed = stack.worker_pid()
    about = f"FROM job_log WHERE job_id = {job} AND event = 'shard started'"
    stack.until(lambda: stack.rows(f"SELECT COUNT(*) {about}") != [(0,)], "its first line")
    os.kill(killed, signal.SIGKILL)
    stack.until(lambda: conditions(stack).get(killed) == "dead", "it to be seen dead")
    stack.until(lambda: "lease expired" in " ".join(events(stack, job)), "the scheduler's line")
    # Celery's parent starts another child, which goes on.
    stack.until(lambda: "busy" in conditions(stack).values(), "another worker")
    (name,) = {
        one.name for one in fleet.list_workers(stack.database, stack.settings) if one.pid == killed
    }
    lines = [
        line for part in logs.whole_log(stack.database, job, level="", shard=None) for line in part
    ]
    assert {line.event for line in lines if line.source == name} >= {"shard started"}
    assert any(
        line.source.startswith("scheduler-") and line.event == "job planned" for line in lines
    )
    for key, value in stack.environment.items():
        monkeypatch.setenv(key, value)
    shown = CliRunner().invoke(app, ["logs", str(job)]).stdout
    assert f"{name} shard=0 attempt=1 shard started" in shown
    assert "scheduler" not in said(stack)
    os.kill(scheduler.pid, signal.SIGKILL)
    stack.until(lambda: "scheduler" in said(stack), "the scheduler to be missed")


def events(stack: Stack, job: int) -> list[str]:
    return [row[0] for row in stack.rows(f"SELECT event FROM job_log WHERE job_id = {job}")]


def test_a_broker_that_does_not_answer_is_said(tmp_path: Path) -> None:
    stack = Stack(tmp_path, broker_url="redis://:hunter2@127.0.0.1:1/0")
    try:
        stack.start("scheduler")
        stack.until(lambda: said(stack) == {"broker"}, "the broker to be missed")
        (notice,) = notices(stack.database, stack.settings)
        assert "redis://:**@127.0.0.1:1/0" in notice.message
        everything = "".join(path.read_text() for path in tmp_path.glob("*.log"))
        assert "does not answer" in everything
        assert "hunter2" not in everything + notice.message + notice.remedy
    finally:
        stack.stop()


def test_the_heartbeat_of_a_hung_shard_reports_it_as_stalled(database: Database) -> None:
    settings = load_settings({}, heartbeat_seconds=0.05, stall_warn_seconds=0.2)
    planned_job(database, examples=2)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    heartbeat = WorkerHeartbeat(settings, database, ALICE)
    heartbeat.start()
    heartbeat.hold(held)
    patient = settings.model_copy(update={"heartbeat_seconds": 60.0})
    while fleet.list_workers(database, patient)[0].condition != "stalled":
        time.sleep(0.05)
    (worker,) = fleet.list_workers(database, patient)
    heartbeat.close()
    assert fleet.list_workers(database, patient)[0].condition == "stopped"
    assert worker.resource_usage["memory"] > 1e6
    assert worker.resource_usage["threads"] >= 1
