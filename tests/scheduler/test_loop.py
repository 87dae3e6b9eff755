"""The scheduler's tick, on both databases: what it expires, sweeps and finishes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from db.database import Database
from db.queue import claims
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.control import control
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import ALICE, planned_job
from tests.helpers.scheduling import commit_everything, states, submitted


def test_an_idle_tick_does_nothing(scheduler: Scheduler, app: Any) -> None:
    scheduler.tick()
    assert app.sent == []


def test_rounds_begin_when_there_is_something_to_do(database: Database, settings: Settings) -> None:
    """A job is planned, announced and finished long before the next round would be due."""
    slow = settings.model_copy(update={"tick_seconds": 60.0})
    scheduler, stop = Scheduler(slow, Database(database.url)), threading.Event()
    running = threading.Thread(target=scheduler.run, args=(stop,))
    running.start()
    try:
        deadline = time.monotonic() + 30
        job = submitted(database, settings)
        while states(database) != ["running"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        commit_everything(database)
        while states(database) != ["succeeded"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        stop.set()
        running.join()
        scheduler.database.close()
    assert job == 1


# Expire, sweep, finish.


def test_a_tick_takes_a_shard_back_from_a_silent_worker(
    scheduler: Scheduler, database: Database, app: Any
) -> None:
    planned_job(database, size=6)
    assert claims.claim(database, ALICE, 60) is not None
    scheduler.tick()
    assert rows(database, "SELECT state, losses FROM shard") == [("leased", 0)]
    execute(database, "UPDATE shard SET lease_until = 1")
    scheduler.tick()
    assert rows(database, "SELECT state, losses, owner FROM shard") == [("ready", 1, "alice")]
    assert app.sent == ["default"]


def test_a_tick_cancels_what_nobody_holds(scheduler: Scheduler, database: Database) -> None:
    job = planned_job(database)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    control(database, job, "cancel")
    scheduler.tick()
    shards = "SELECT state FROM shard ORDER BY shard_no"
    assert rows(database, shards) == [("leased",), ("cancelled",), ("cancelled",)]
    assert states(database) == ["cancelling"]
    claims.hand_back(database, held, "cancelled")
    scheduler.tick()
    assert states(database) == ["cancelled"]


def test_a_tick_finishes_a_job_whose_shards_are_done(
    scheduler: Scheduler, database: Database
) -> None:
    planned_job(database)
    commit_everything(database)
    scheduler.tick()
    assert states(database) == ["succeeded"]
    assert rows(database, "SELECT COUNT(*), MIN(n), MAX(n) FROM head_importance") == [(6, 6, 6)]


def test_a_job_with_a_failed_shard_says_so(scheduler: Scheduler, database: Database) -> None:
    planned_job(database)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    claims.record_error(database, held, "out of memory", permanent=True)
    commit_everything(database)
    scheduler.tick()
    ((state, error),) = rows(database, "SELECT state, error FROM job")
    assert state == "failed"
    assert "1 of 3 shards failed" in error
    assert "shard 0: out of memory" in error


def test_two_schedulers_do_everything_once(
    database: Database, settings: Settings, app: Any
) -> None:
    for number in range(5):
        submitted(database, settings, edges=number)
    schedulers = [Scheduler(settings, database, app) for _ in range(2)]
    at_once([scheduler.tick for scheduler in schedulers])
    at_once([scheduler.tick for scheduler in schedulers])
    assert states(database) == ["running"] * 5
    per_job = "SELECT COUNT(*), SUM(hi - lo) FROM shard GROUP BY job_id"
    assert rows(database, per_job) == [(1, 6)] * 5
    commit_everything(database)
    at_once([scheduler.tick for scheduler in schedulers])
    at_once([scheduler.tick for scheduler in schedulers])
    assert states(database) == ["succeeded"] * 5
    heads = "SELECT COUNT(*) FROM importance GROUP BY job_id"
    assert rows(database, heads) == [(6,)] * 5


def at_once(calls: list[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result()


@pytest.mark.usefixtures("two_workers")
def test_a_worker_gone_for_a_day_is_forgotten(scheduler: Scheduler, database: Database) -> None:
    execute(database, "UPDATE worker SET seen_at = seen_at - 90000 WHERE name = 'bob'")
    scheduler.tick()
    assert rows(database, "SELECT name FROM worker") == [("alice",)]
