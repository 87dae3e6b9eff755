"""`headwise health`: what a container's health check and a probe are told."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState, SchedulerIdentity, Vitals
from db.queue import claims
from tests.cli.conftest import Headwise
from tests.helpers.jobs import ALICE, planned_job

HERE = replace(ALICE, host=socket.gethostname())
SCHEDULER = SchedulerIdentity(
    name="s", host=socket.gethostname(), pid=1, broker="redis://h", heartbeat_seconds=10.0
)


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def report_scheduler(
    database: Database, state: ProcessState = ProcessState.RUNNING, still: float = 0.0
) -> None:
    fleet.report_scheduler(
        database, SCHEDULER, state=state, doing=None, broker_error=None, still=still
    )


def test_a_worker_is_well_while_it_beats_on_this_host(headwise: Headwise, store: Database) -> None:
    assert headwise("health", "worker").out == "worker: none alive on this host\n"
    fleet.report_worker(store, replace(ALICE, host="elsewhere"), ProcessState.IDLE)
    assert headwise("health", "worker").status == 1
    fleet.report_worker(store, replace(HERE, name="bob"), ProcessState.IDLE)
    ran = headwise("health", "worker")
    assert (ran.status, ran.out) == (0, "worker: 1 alive on this host\n")
    execute(store, "UPDATE worker SET seen_at = seen_at - 100")
    assert headwise("health", "worker").status == 1


def test_a_worker_that_does_not_move_for_its_lease_is_not_well(
    headwise: Headwise, store: Database
) -> None:
    planned_job(store)
    held = claims.claim(store, HERE, 60)
    assert held
    fleet.report_worker(store, HERE, ProcessState.BUSY, held)
    assert headwise("health", "worker").status == 0
    execute(store, "UPDATE shard SET moved_at = moved_at - 200")
    assert headwise("health", "worker").status == 0, "slow is not hung"
    execute(store, "UPDATE shard SET moved_at = moved_at - 200")
    ran = headwise("health", "worker")
    assert (ran.status, ran.out) == (1, "worker: hung: alice\n")


def test_a_worker_that_no_longer_looks_for_shards_is_not_well(
    headwise: Headwise, store: Database
) -> None:
    fleet.report_worker(store, HERE, ProcessState.IDLE, vitals=Vitals(still=200.0))
    assert headwise("health", "worker").status == 0
    # Busy with a shard that it has lost, for ever; or idle, and deaf.
    for state in (ProcessState.BUSY, ProcessState.IDLE):
        fleet.report_worker(store, HERE, state, vitals=Vitals(still=400.0))
        ran = headwise("health", "worker")
        assert (ran.status, ran.out) == (1, "worker: hung: alice\n")


def test_a_scheduler_is_well_while_its_rounds_end(headwise: Headwise, store: Database) -> None:
    assert headwise("health", "scheduler").status == 1
    report_scheduler(store)
    assert headwise("health", "scheduler").out == "scheduler: 1 alive on this host\n"
    report_scheduler(store, still=400)
    assert headwise("health", "scheduler").out == "scheduler: hung: s\n"
    report_scheduler(store, state=ProcessState.STOPPED)
    assert headwise("health", "scheduler").status == 1


def test_a_database_that_is_away_is_no_reason_to_restart(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWISE_DATABASE_URL", "postgresql://u@127.0.0.1:1/x")
    ran = headwise("health", "worker")
    assert ran.status == 0
    assert ran.out.startswith("worker: unknown: The database")


def test_a_schema_that_is_not_there_yet_is_not_well(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(store, "UPDATE alembic_version SET version_num = '0004'")
    assert headwise("health", "worker").status == 1


def test_another_role_is_refused(headwise: Headwise) -> None:
    ran = headwise("health", "workers")
    assert (ran.status, ran.out) == (2, "")
    assert "ROLE: is neither scheduler nor worker (given: 'workers'). Did you mean" in ran.err
