"""The workers that are woken, and what happens while the broker is away."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.queue import claims
from db.results import commit
from jobs.settings import Settings
from scheduler.loop import PAUSE_SECONDS, Scheduler
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import ALICE, BOB, completed, planned_job
from tests.helpers.scheduling import states, submitted
from tests.helpers.tiny import pairs_file


@pytest.mark.parametrize(("silent", "woken"), [(24.9, 2), (25.1, 1)])
@pytest.mark.usefixtures("still_clock", "two_workers")
def test_a_worker_that_just_missed_its_heartbeats_is_still_woken(
    scheduler: Scheduler, database: Database, app: Any, silent: float, woken: int
) -> None:
    """It is shown as dead after 20 s, two heartbeats, and counts for five seconds more."""
    assert scheduler.settings.heartbeat_seconds == 10
    planned_job(database, size=3)
    execute(database, f"UPDATE worker SET seen_at = seen_at - {silent} WHERE name = 'bob'")
    scheduler.tick()
    assert app.sent == ["default"] * woken


def test_as_many_workers_are_woken_as_can_share_a_range(
    scheduler: Scheduler, database: Database, settings: Settings, app: Any
) -> None:
    pairs_file(settings.home / "pairs.jsonl", 20)
    submitted(database, settings)
    scheduler.plan()
    for who in (ALICE, BOB):
        fleet.report_worker(database, who, ProcessState.IDLE)
    scheduler.tick()
    assert rows(database, "SELECT COUNT(*) FROM shard") == [(1,)]
    assert app.sent == ["default", "default"]


# Waking workers.


@pytest.mark.usefixtures("two_workers")
def test_every_idle_worker_is_woken_once(
    scheduler: Scheduler, database: Database, app: Any
) -> None:
    planned_job(database)
    scheduler.tick()
    assert app.sent == ["default", "default"]
    marked = "SELECT shard_no FROM shard WHERE dispatched_at IS NOT NULL ORDER BY 1"
    assert rows(database, marked) == [(0,), (1,)]


@pytest.mark.usefixtures("one_worker")
def test_a_shard_is_announced_again_when_nobody_took_it(
    scheduler: Scheduler, database: Database, app: Any
) -> None:
    planned_job(database, size=6)
    scheduler.tick()
    scheduler.tick()
    assert app.sent == ["default"]
    execute(database, "UPDATE shard SET dispatched_at = dispatched_at - 31")
    scheduler.tick()
    assert app.sent == ["default", "default"]


def test_busy_workers_are_left_alone(scheduler: Scheduler, database: Database, app: Any) -> None:
    planned_job(database)
    fleet.report_worker(database, ALICE, ProcessState.BUSY)
    scheduler.tick()
    assert app.sent == []


def test_a_queue_without_workers_gets_one_message_for_one_that_is_starting(
    scheduler: Scheduler, database: Database, app: Any
) -> None:
    planned_job(database)
    planned_job(database, queue="gpu")
    scheduler.tick()
    scheduler.tick()
    assert sorted(app.sent) == ["default", "gpu"]


@pytest.mark.usefixtures("one_worker")
def test_workers_of_another_queue_are_not_woken(
    scheduler: Scheduler, database: Database, app: Any
) -> None:
    planned_job(database, queue="gpu")
    scheduler.tick()
    assert app.sent == ["gpu"]


@pytest.mark.usefixtures("two_workers")
def test_a_worker_that_was_not_seen_for_long_does_not_count(
    scheduler: Scheduler, database: Database, app: Any
) -> None:
    planned_job(database)
    execute(database, "UPDATE worker SET seen_at = seen_at - 3600")
    scheduler.tick()
    assert app.sent == ["default"]


def test_a_broker_that_is_away_costs_nothing_but_time(
    scheduler: Scheduler, database: Database, settings: Settings, app: Any
) -> None:
    submitted(database, settings)
    app.reachable = False
    scheduler.tick()
    assert states(database) == ["running"]
    assert rows(database, "SELECT dispatched_at FROM shard") == [(None,)]
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
    app.reachable = True
    scheduler.tick()
    assert app.sent == []  # it is not asked again at once
    scheduler._publishing.seconds = 0
    scheduler.tick()
    assert app.sent == ["default"]


def test_without_a_broker_jobs_are_finished_all_the_same(
    scheduler: Scheduler, database: Database, app: Any
) -> None:
    """Workers that are awake ask the database."""
    done, _waiting = planned_job(database), planned_job(database, priority=-1)
    app.reachable = False
    for _ in range(3):
        held = claims.claim(database, ALICE, 60)
        assert held is not None
        assert held.job_id == done
        commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    for _ in range(2):
        Scheduler(scheduler.settings, database, app).tick()
    assert states(database) == ["succeeded", "running"]


def test_the_loop_outlives_a_broker_that_is_away(
    scheduler: Scheduler, database: Database, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned_job(database)
    app.reachable = False
    stop = Stop(rounds=4)
    scheduler.run(stop)
    assert PAUSE_SECONDS in stop.waited
    assert max(stop.waited) < 1  # a round ends as always


class Stop(threading.Event):
    """An event that is set after some waits, and never really waits."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds, self.waited = rounds, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        if len(self.waited) >= self.rounds:
            self.set()
        return self.is_set()
