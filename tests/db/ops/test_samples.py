"""Samples: every attempt is counted once, whoever writes them and when; old ones become hours."""

from __future__ import annotations

from typing import Any

import pytest

from db.database import Database
from db.ops import fleet, samples
from db.ops.fleet import ProcessState, Vitals
from db.ops.samples import HOUR, STEP, Subject
from db.queue import claims
from db.reads import operations
from db.results import commit
from db.transaction import Transaction
from jobs.settings import Settings
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import ALICE, BOB, completed, planned_job
from tests.webui.seed import clock

COUNTS = (
    "SELECT subject, name, starts_at, attempts, failures, examples FROM sample ORDER BY 1, 2, 3"
)


@pytest.fixture
def settings() -> Settings:
    return Settings()


def this_step(database: Database) -> int:
    """The beginning of the newest step that has ended and settled."""
    return int(clock(database) - samples.SETTLE_SECONDS) // STEP * STEP - STEP


def attempts(database: Database) -> int:
    """Two attempts of Alice that are stored and one that raised, one of Bob that lost its lease."""
    job = planned_job(database, examples=8, size=2)
    for _ in range(2):
        held = claims.claim(database, ALICE, 60)
        assert held is not None
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    claims.record_error(database, held, "boom")
    lost = claims.claim(database, BOB, 60)
    assert lost is not None
    execute(database, "UPDATE attempt SET outcome = 'lost', finished_at = 1 WHERE worker = 'bob'")
    return job


def ended_at(database: Database, at: float, worker: str = "alice") -> None:
    """Move the ends of a worker's attempts, and their beginnings ten seconds before."""
    moved = "started_at = :at - 10, finished_at = :at WHERE finished_at IS NOT NULL"
    execute(database, f"UPDATE attempt SET {moved} AND worker = :w", at=at, w=worker)


def test_every_attempt_is_counted_once_in_the_step_in_which_it_ended(
    database: Database, settings: Settings
) -> None:
    attempts(database)
    step = this_step(database)
    ended_at(database, step + 10.0)
    ended_at(database, step - 0.5, "bob")
    while samples.take(database, settings):
        pass
    found = [row for row in rows(database, COUNTS) if row[3]]
    assert found == [
        ("queue", "default", step - STEP, 1, 1, 0),
        ("queue", "default", step, 3, 1, 4),
        ("user", "tester", step - STEP, 1, 1, 0),
        ("user", "tester", step, 3, 1, 4),
        ("worker", "alice", step, 3, 1, 4),
        ("worker", "bob", step - STEP, 1, 1, 0),
    ]
    everything = rows(database, "SELECT * FROM sample ORDER BY 1, 2, 3")
    assert not samples.take(database, settings)
    assert rows(database, "SELECT * FROM sample ORDER BY 1, 2, 3") == everything


def test_a_killed_writer_leaves_nothing_and_the_next_one_writes_all(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts(database)
    ended_at(database, this_step(database) + 10.0)
    execute_ = Transaction.execute

    def killed(self: Transaction, *arguments: Any) -> Any:
        execute_(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Transaction, "execute", killed)
    with pytest.raises(KeyboardInterrupt):
        samples.take(database, settings)
    monkeypatch.undo()
    assert rows(database, COUNTS) == []
    while samples.take(database, settings):
        pass
    assert rows(database, "SELECT SUM(attempts) FROM sample WHERE subject = 'worker'") == [(3,)]


def test_two_schedulers_write_a_step_once(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes between the first one's reading and its writing."""
    attempts(database)
    ended_at(database, this_step(database) + 10.0)
    look = samples._look

    def other_first(*arguments: Any) -> None:
        look(*arguments)
        monkeypatch.setattr(samples, "_look", look)
        other = Database(database.url)
        while samples.take(other, settings):
            pass
        other.close()

    monkeypatch.setattr(samples, "_look", other_first)
    while samples.take(database, settings):
        pass
    assert samples._look is look  # the other one came between
    assert rows(database, "SELECT SUM(attempts) FROM sample WHERE subject = 'user'") == [(3,)]


@pytest.mark.services
def test_no_scheduler_waits_for_another(postgres_url: str, settings: Settings) -> None:
    database = Database(postgres_url)
    with database.write() as frozen:
        assert frozen.try_lock(samples.LOCK)
        assert not samples.take(database, settings)
        assert not samples.thin(database, 10)
    assert samples.take(database, settings)
    database.close()


def test_it_looks_at_what_waits_and_who_works(database: Database, settings: Settings) -> None:
    attempts(database)
    usage = Vitals(resource_usage='{"memory": 5e8, "device_reserved": 7}')
    fleet.report_worker(database, ALICE, ProcessState.IDLE, None, 10, usage)
    execute(database, "UPDATE shard SET available_at = {clock} - 100 WHERE state = 'ready'")
    execute(database, "UPDATE job SET started_at = {clock} - 50")
    while samples.take(database, settings):
        pass
    step = this_step(database)
    (queue,) = rows(
        database,
        "SELECT ready, waiting, leased, workers, oldest FROM sample "
        f"WHERE subject = 'queue' AND starts_at = {step}",
    )
    assert queue[:4] == (1, 2, 1, 1)
    assert 49 < queue[4] < 60
    memory = "SELECT name, memory, device_memory FROM sample WHERE memory IS NOT NULL"
    assert rows(database, memory) == [("alice", 500_000_000, 7)]
    # No scheduler looked in the steps before.
    before = f"SELECT COUNT(*) FROM sample WHERE starts_at < {step} AND waiting IS NOT NULL"
    assert rows(database, before) == [(0,)]


def test_an_outage_is_written_afterwards_for_a_day(database: Database, settings: Settings) -> None:
    attempts(database)
    now = clock(database)
    ended_at(database, now - 20 * HOUR)
    ended_at(database, now - 3 * 86_400, "bob")
    taken = 1
    while samples.take(database, settings):
        taken += 1
    assert taken == 86_400 / STEP / samples.STEPS_AT_ONCE
    assert {row[1] for row in rows(database, COUNTS) if row[0] == "worker"} == {"alice"}


def fine(database: Database, at: int, name: str = "q", **changes: Any) -> None:
    values = {
        "subject": "queue",
        "starts_at": at,
        "name": name,
        "step": STEP,
        "attempts": 1,
        "failures": 1,
        "examples": 10,
        "seconds": 2.5,
        **changes,
    }
    names = ", ".join(values)
    marks = ", ".join(f":{key}" for key in values)
    execute(database, f"INSERT INTO sample ({names}) VALUES ({marks})", **values)


def test_old_steps_become_hours_with_the_same_sums(database: Database) -> None:
    now = int(clock(database))
    old = (now - 3 * 86_400) // HOUR * HOUR
    for number in range(12):
        fine(database, old + number * STEP, waiting=number, oldest=1.5 * number, workers=6 - number)
    fine(database, old + HOUR)
    young = now // STEP * STEP
    fine(database, young)
    fine(database, (now - 31 * 86_400) // HOUR * HOUR, step=HOUR)
    before = samples.read_series(database, Subject.QUEUE, old, HOUR)
    assert not samples.thin(database, 60)
    assert not samples.thin(database, 60)
    kept = "starts_at, step, attempts, examples, seconds, waiting, workers"
    assert rows(database, f"SELECT {kept} FROM sample ORDER BY starts_at") == [
        (old, HOUR, 12, 120, 30.0, 11, -5),
        (old + HOUR, HOUR, 1, 10, 2.5, None, None),
        (young, STEP, 1, 10, 2.5, None, None),
    ]
    assert samples.read_series(database, Subject.QUEUE, old, HOUR) == before


def test_thinning_stops_in_time_and_goes_on(database: Database) -> None:
    old = (int(clock(database)) - 3 * 86_400) // HOUR * HOUR
    for number in range(3):
        fine(database, old + number * HOUR)
    assert samples.thin(database, -1)
    assert rows(database, "SELECT COUNT(*) FROM sample WHERE step = 300") == [(3,)]
    assert not samples.thin(database, 60)
    assert rows(database, "SELECT COUNT(*) FROM sample WHERE step = 3600") == [(3,)]


def test_queues_workers_and_users_now_and_over_time(database: Database, settings: Settings) -> None:
    attempts(database)
    ended_at(database, this_step(database) + 10.0)
    fleet.report_worker(database, ALICE, ProcessState.IDLE, None, 10)
    while samples.take(database, settings):
        pass
    since = clock(database) - HOUR
    now = operations.read_now(database, settings)
    (queue,) = operations.read_queues(database, now, since, STEP)
    assert (queue.name, queue.leased, queue.ready, queue.waiting) == ("default", 1, 1, 2)
    assert (queue.workers, queue.examples, queue.failures) == (1, 4, 1)
    (worker,) = operations.read_workers(database, now, since)
    assert (worker.name, worker.alive, worker.total.examples) == ("alice", True, 4)
    assert worker.total.rate == pytest.approx(4 / 30)
    (user,) = operations.read_users(database, now)
    assert (user.name, user.week.failures, user.leased, user.waiting) == ("tester", 1, 1, 2)
    assert user.recent >= 0
