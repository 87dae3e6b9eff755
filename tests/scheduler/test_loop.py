"""The scheduler's tick, on both databases: plan, dispatch, expire, sweep, finish."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.queue import claims, planning
from db.results import commit
from jobs.errors import InputError, Problem, UnavailableError
from jobs.inputs.data import Rows
from jobs.settings import Settings
from scheduler import loop
from scheduler.broker import delete_delivered, make_app, wake
from scheduler.loop import Scheduler
from scheduler.submission.control import control
from scheduler.submission.submit import check, submit
from tests.helpers.inputs import raw_submission
from tests.helpers.jobs import ALICE, BOB, completed, planned_job
from tests.helpers.tiny import pairs_file


def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def submitted(database: Database, settings: Settings, **spec: Any) -> int:
    return submit(check(raw_submission(settings.home, **spec), settings, database), database)


def states(database: Database) -> list[str]:
    return [row[0] for row in rows(database, "SELECT state FROM job ORDER BY id")]


@pytest.fixture
def scheduler(database: Database, settings: Settings, app: Any) -> Scheduler:
    return Scheduler(settings, database, app)


@pytest.fixture
def two_workers(database: Database) -> None:
    """Alice and Bob have nothing to do."""
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
    fleet.report_worker(database, BOB, ProcessState.IDLE)


@pytest.fixture
def one_worker(database: Database) -> None:
    """Alice has nothing to do."""
    fleet.report_worker(database, ALICE, ProcessState.IDLE)


def commit_everything(database: Database) -> None:
    """Alice computes every shard that is ready."""
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")


def test_an_idle_tick_does_nothing(scheduler: Scheduler, app: Any) -> None:
    scheduler.tick()
    assert app.sent == []


def test_a_tick_cuts_a_job_into_shards_and_lets_it_run(
    scheduler: Scheduler, database: Database, settings: Settings
) -> None:
    submitted(database, settings)
    scheduler.tick()
    assert states(database) == ["running"]
    assert rows(database, "SELECT shard_no, lo, hi, state FROM shard") == [(0, 0, 6, "ready")]
    assert rows(database, "SELECT started_at IS NOT NULL FROM job")[0][0]


@pytest.mark.parametrize(("silent", "woken"), [(23.0, 2), (27.0, 1)])
@pytest.mark.usefixtures("two_workers")
def test_a_worker_that_just_missed_its_heartbeats_is_still_woken(
    scheduler: Scheduler, database: Database, app: Any, silent: float, woken: int
) -> None:
    """It is shown as dead after 20 s, two heartbeats, and counts for five seconds more."""
    assert scheduler.settings.heartbeat_seconds == 10
    planned_job(database, size=3)
    execute(database, f"UPDATE worker SET seen_at = seen_at - {silent} WHERE name = 'bob'")
    scheduler.tick()
    assert app.sent == ["default"] * woken


@pytest.mark.usefixtures("one_worker")
def test_there_is_a_range_of_whole_blocks_for_every_live_worker(
    scheduler: Scheduler, database: Database, settings: Settings
) -> None:
    fleet.report_worker(database, BOB, ProcessState.BUSY)
    pairs_file(settings.home / "pairs.jsonl", 20)
    submitted(database, settings)
    scheduler.tick()
    assert rows(database, "SELECT lo, hi FROM shard ORDER BY 1") == [(0, 8), (8, 20)]


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


def test_a_job_paused_before_it_was_planned_stays_paused(
    scheduler: Scheduler, database: Database, settings: Settings, app: Any
) -> None:
    job = submitted(database, settings)
    control(database, job, "pause")
    scheduler.tick()
    assert states(database) == ["paused"]
    assert app.sent == []
    control(database, job, "resume")
    scheduler.tick()
    assert app.sent == ["default"]


def test_a_planner_that_died_is_followed_by_another(
    scheduler: Scheduler, database: Database, settings: Settings
) -> None:
    submitted(database, settings)
    assert len(planning.take_plans(database)) == 1
    assert states(database) == ["planning"]
    scheduler.tick()
    assert states(database) == ["running"]


class HubRows:
    """Data that is loaded while planning."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
        self.result = result
        monkeypatch.setattr(loop, "read_rows", self.read)

    def read(self, *_: object) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def loaded(database: Database, settings: Settings) -> Rows:
    """Six good rows, as the hub would give them."""
    rows = check(raw_submission(settings.home), settings, database).rows
    assert rows is not None
    return rows


@pytest.fixture
def hub(
    database: Database, settings: Settings, loaded: Rows, monkeypatch: pytest.MonkeyPatch
) -> HubRows:
    """A job on hub data is submitted, and the hub gives it good rows."""
    submitted(database, settings, data=HUB)
    return HubRows(monkeypatch, loaded)


HUB = {"path": None, "dataset": "org/set", "split": "test", "label_column": "label"}


def test_hub_data_is_loaded_and_stored_while_planning(
    scheduler: Scheduler, database: Database, hub: HubRows, loaded: Rows
) -> None:
    scheduler.tick()
    assert states(database) == ["running"]
    assert rows(database, "SELECT examples, data_fingerprint FROM job") == [
        (6, loaded.fingerprint())
    ]
    found = rows(database, "SELECT text_a, gold FROM example ORDER BY example_no")
    assert found == [(f"text {n}", n % 3) for n in range(6)]


def test_hub_data_that_cannot_be_loaded_fails_the_job_in_words(
    scheduler: Scheduler, database: Database, hub: HubRows
) -> None:
    problem = Problem(field="data.dataset", value="org/set", message="cannot be loaded: offline")
    hub.result = InputError(problem)
    scheduler.tick()
    assert rows(database, "SELECT state, error FROM job") == [
        ("failed", "data.dataset: cannot be loaded: offline (given: 'org/set').")
    ]
    assert rows(database, "SELECT COUNT(*) FROM shard") == [(0,)]
    scheduler.tick()
    assert states(database) == ["failed"]


def test_hub_labels_that_the_model_does_not_know_fail_the_job(
    scheduler: Scheduler, database: Database, hub: HubRows, loaded: Rows
) -> None:
    loaded.labels[4] = "perhaps"
    scheduler.tick()
    ((state, error),) = rows(database, "SELECT state, error FROM job")
    assert state == "failed"
    assert "line 5 has a label that the model does not know (given: 'perhaps')" in error


def test_one_bad_job_does_not_stop_the_others(
    scheduler: Scheduler, database: Database, settings: Settings, hub: HubRows
) -> None:
    submitted(database, settings)
    hub.result = InputError(Problem(field="data", value=None, message="broken"))
    scheduler.tick()
    assert states(database) == ["failed", "running"]


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
    with pytest.raises(UnavailableError, match="broker does not answer"):
        scheduler.tick()
    assert states(database) == ["running"]
    assert rows(database, "SELECT dispatched_at FROM shard") == [(None,)]
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
    app.reachable = True
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
        with pytest.raises(UnavailableError):
            Scheduler(scheduler.settings, database, app).tick()
    assert states(database) == ["succeeded", "running"]


def test_the_loop_outlives_a_broker_that_is_away(
    scheduler: Scheduler, database: Database, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned_job(database)
    app.reachable = False
    stop = Stop(rounds=4)
    scheduler.run(stop)
    # It tries again in every round, so that no wake-up is late once the broker is back.
    assert stop.waited == [2.0, 0.5, 2.0, 0.5]


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


# The app.


def test_messages_are_acknowledged_early_and_never_prefetched(settings: Settings) -> None:
    conf = make_app(settings).conf
    assert not conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_ignore_result
    assert conf.accept_content == ["json"]


def test_waking_works_on_a_broker_in_memory(settings: Settings) -> None:
    app = make_app(settings.model_copy(update={"broker_url": "memory://"}))
    with app.connection_for_read() as connection, connection.SimpleQueue("default") as queue:
        queue.clear()
        wake(app, "default")
        message = queue.get(block=False)
        assert message.headers["task"] == "headwise.wake"
        # The worker compares this with its own clock, which may be an hour ahead.
        left = datetime.fromisoformat(message.headers["expires"]) - datetime.now(UTC)
        assert timedelta(hours=12) < left < timedelta(days=2)


def test_a_broker_file_without_tables_is_a_broker_that_does_not_answer(
    settings: Settings,
) -> None:
    delete_delivered(settings)
    sqlite3.connect(settings.home / "broker.sqlite").close()
    (settings.home / "broker.sqlite").touch()
    with pytest.raises(UnavailableError, match="no such table"):
        delete_delivered(settings)
