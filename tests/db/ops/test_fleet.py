"""Processes that are alive or hang, and the words for it: by the database's clock alone."""

from __future__ import annotations

import pytest

from db.database import Database
from db.ops import conditions, fleet
from db.ops.fleet import ProcessState, SchedulerIdentity, Vitals
from db.queue import claims
from db.reads import jobs as job_reads
from jobs.processes.report import Report
from jobs.settings import Settings
from tests.helpers.fleet import SAID, WHO, shift
from tests.helpers.jobs import ALICE, planned_job

pytestmark = pytest.mark.usefixtures("still_clock")

SETTINGS = Settings(heartbeat_seconds=10, stall_warn_seconds=60, stall_seconds=300)


def worker(database: Database) -> fleet.Worker:
    return fleet.list_workers(database, SETTINGS)[0]


def shard_condition(database: Database, job: int) -> str | None:
    return fleet.shard_condition(job_reads.list_shards(database, job)[0], SETTINGS)


@pytest.mark.parametrize(
    ("silent", "beat", "condition"),
    [(19, 10, "idle"), (21, 10, "dead"), (1, 0.4, "dead"), (100, 60, "idle"), (19, None, "idle")],
)
def test_a_worker_that_missed_two_of_its_own_heartbeats_is_dead(
    database: Database, silent: float, beat: float | None, condition: str
) -> None:
    fleet.report_worker(
        database, ALICE, ProcessState.IDLE, None, beat, Vitals(resource_usage='{"memory": 5}')
    )
    shift(database, "worker", "seen_at", silent)
    found = worker(database)
    assert (found.condition, found.alive) == (condition, condition != "dead")
    assert found.silent == pytest.approx(silent, abs=1e-3)
    assert found.resource_usage == {"memory": 5}


def test_a_worker_that_signed_off_is_stopped_not_dead(database: Database) -> None:
    fleet.report_worker(database, ALICE, ProcessState.STOPPED, None, 10)
    shift(database, "worker", "seen_at", 1000)
    assert (worker(database).condition, worker(database).alive) == ("stopped", False)


def test_a_shard_that_does_not_move_while_its_worker_beats_is_stalled(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    fleet.report_worker(database, ALICE, ProcessState.BUSY, held, 10)
    assert (worker(database).condition, shard_condition(database, job)) == ("busy", None)
    claims.renew(database, held, 1, 60, 59.0)
    assert (worker(database).condition, shard_condition(database, job)) == ("busy", None)
    claims.renew(database, held, 1, 60, 65.0)
    assert (worker(database).condition, shard_condition(database, job)) == ("stalled", "stalled")
    still = job_reads.list_shards(database, job)[0].still
    assert still == pytest.approx(65, abs=1e-3)
    claims.renew(database, held, 2, 60, 0.5)
    assert (worker(database).condition, shard_condition(database, job)) == ("busy", None)


def test_a_shard_of_a_dead_worker_is_not_called_stalled(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claims.claim(database, ALICE, 60)
    fleet.report_worker(database, ALICE, ProcessState.BUSY, held, 10)
    shift(database, "worker", "seen_at", 90)
    shift(database, "shard", "moved_at", 95)
    assert (worker(database).condition, shard_condition(database, job)) == ("dead", "dead")


def test_a_new_claim_has_just_moved(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    claims.renew(database, held, 1, 60, 500.0)
    claims.hand_back(database, held, "pause")
    assert shard_condition(database, job) is None
    again = claims.claim(database, ALICE, 60)
    fleet.report_worker(database, ALICE, ProcessState.BUSY, again, 10)
    assert shard_condition(database, job) is None


def said(database: Database) -> list[str]:
    return [notice.what for notice in conditions.notices(database, SETTINGS)]


def test_what_stands_still_is_said(database: Database) -> None:
    assert said(database) == ["scheduler"]
    fleet.report_scheduler(database, WHO, **SAID)
    assert said(database) == []
    planned_job(database)
    assert said(database) == ["workers"]
    fleet.report_worker(database, ALICE, ProcessState.IDLE, None, 10)
    assert said(database) == []
    shift(database, "worker", "seen_at", 21)
    assert said(database) == ["workers"]
    fleet.report_scheduler(database, WHO, **{**SAID, "broker_error": "refused"})
    assert said(database) == ["broker", "workers"]
    fleet.report_scheduler(database, WHO, **{**SAID, "still": 61.0, "doing": "planning job 3"})
    assert said(database) == ["scheduler", "workers"]
    assert "planning job 3" in conditions.notices(database, SETTINGS)[0].message
    shift(database, "scheduler", "seen_at", 21)
    assert said(database) == ["scheduler", "workers"]
    assert "No scheduler is running" in conditions.notices(database, SETTINGS)[0].message


def test_one_of_two_schedulers_is_enough(database: Database) -> None:
    fleet.report_scheduler(database, WHO, **{**SAID, "broker_error": "refused", "still": 500.0})
    other = SchedulerIdentity(name="t", host="h", pid=2, broker="redis://b", heartbeat_seconds=10)
    fleet.report_scheduler(database, other, **SAID)
    assert said(database) == []
    conditions = {one.name: one.condition for one in fleet.list_schedulers(database, SETTINGS)}
    assert conditions == {"s": "stalled", "t": "running"}
    fleet.report_scheduler(database, WHO, **{**SAID, "state": ProcessState.STOPPED})
    conditions = {one.name: one.condition for one in fleet.list_schedulers(database, SETTINGS)}
    assert conditions == {"s": "stopped", "t": "running"}
    shift(database, "scheduler", "seen_at", 1000)
    fleet.delete_unseen(database, 500)
    assert fleet.list_schedulers(database, SETTINGS) == []


def test_a_worker_of_several_queues_serves_each(database: Database) -> None:
    fleet.report_scheduler(database, WHO, **SAID)
    planned_job(database, queue="large")
    assert said(database) == ["workers"]
    several = type(ALICE)(**{**ALICE.__dict__, "name": "m", "queue": "small,large"})
    fleet.report_worker(database, several, ProcessState.IDLE, None, 10)
    assert said(database) == []


@pytest.mark.parametrize(("failures", "whats"), [(2, []), (3, ["crash loops"])])
def test_a_worker_that_keeps_failing_is_said(
    database: Database, failures: int, whats: list[str]
) -> None:
    fleet.report_scheduler(database, WHO, **SAID)
    vitals = Vitals(report=Report(failures=failures).to_json())
    fleet.report_worker(database, ALICE, ProcessState.IDLE, None, 10, vitals)
    assert said(database) == whats
    if whats:
        message = (
            "A process keeps failing, worker on h: it ended 3 times in a row right after its start."
        )
        assert conditions.notices(database, SETTINGS)[0].message == message
