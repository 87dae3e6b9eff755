"""Faults of an installation, from the reports of its processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import event

from db import transaction
from db.database import Database
from db.ops import conditions, fleet
from db.ops.conditions import Level, Subject
from db.ops.fleet import ProcessIdentity, ProcessState, Role, Vitals
from db.ops.heartbeat import ProcessHeartbeat
from jobs.errors import UnwritableError
from jobs.processes.report import Report, measure, parse
from jobs.processes.space import Space
from jobs.settings import Settings, load_settings
from scheduler.broker import make_app
from scheduler.heartbeat import SchedulerHeartbeat
from tests.helpers import services
from tests.helpers.databases import execute
from tests.helpers.environment import missing
from tests.helpers.fleet import SAID, WHO, shift
from tests.helpers.jobs import ALICE, planned_job

SETTINGS = Settings(heartbeat_seconds=10)
WEB = ProcessIdentity(name="w", host="front", pid=3, role=Role.WEB, heartbeat_seconds=10)
LITTLE = Space(place="data", folder="/data", disk=7, free=12_000_000, inodes=10**6)


@pytest.fixture
def running(database: Database) -> Database:
    """A database with a scheduler, and a worker that has a job."""
    planned_job(database)
    fleet.report_scheduler(database, WHO, **SAID, own=Report(version="0.1.0"))
    worker(database, Report(version="0.1.0"))
    return database


def worker(database: Database, report: Report) -> None:
    vitals = Vitals(report=report.to_json())
    fleet.report_worker(database, ALICE, ProcessState.IDLE, None, 10, vitals)


def said(database: Database) -> dict[str, str]:
    return {notice.what: notice.message for notice in conditions.notices(database, SETTINGS)}


def test_nothing_is_said_of_what_works(running: Database) -> None:
    assert said(running) == {}
    found = conditions.examine(running, SETTINGS)
    assert {one.subject for one in found} == set(Subject)
    assert set(conditions.worst(found).values()) <= {Level.OK, Level.NOTE}


@pytest.mark.parametrize(
    ("report", "what", "words"),
    [
        (Report(disks=(LITTLE,)), "disk", "The disk of /data on h is full: 12 MB are left."),
        (
            Report(disks=(replace(LITTLE, free=10**12, inodes=3),)),
            "disk",
            "The disk of /data on h is full: 3 more files fit on it.",
        ),
        (Report(clock_offset=-61.0), "clocks", "The clock of h is 61 s behind the database's"),
        (Report(failures=3), "crash loops", "worker on h: it ended 3 times in a row"),
        (Report(version="0.0.1"), "releases", "others are 0.0.1 (1), 0.1.0 (1)."),
    ],
)
def test_a_worker_reports_what_only_it_can_see(
    running: Database, report: Report, what: str, words: str
) -> None:
    worker(running, report)
    found = said(running)
    assert list(found) == [what]
    assert words in found[what]
    shift(running, "worker", "seen_at", 1_000)
    assert what not in said(running), "the dead report nothing"


def test_dashboards_and_supervisors_report_too(running: Database) -> None:
    broken = Report(console_error="password authentication failed")
    fleet.report_process(running, WEB, ProcessState.RUNNING, broken)
    console = said(running)["SQL console"]
    assert console == "The SQL console does not work on front: password authentication failed."
    fleet.report_process(running, WEB, ProcessState.RUNNING, Report(failing={"worker 2": 4}))
    assert "worker 2 on front: it ended 4 times" in said(running)["crash loops"]
    fleet.report_process(running, WEB, ProcessState.STOPPED, broken)
    assert said(running) == {}


def test_a_report_is_read_whatever_release_wrote_it() -> None:
    report = measure(SETTINGS, clock_offset=0.5, failing={"worker 1": 2})
    assert parse(report.to_json()) == report
    assert parse('{"version": "9", "new": {"thing": 1}}') == Report(version="9")
    for unreadable in (None, "", "{", '{"disks": 3}'):
        assert parse(unreadable) == Report()


# A database that stores nothing.


def test_a_full_disk_is_not_a_missing_scheduler(running: Database) -> None:
    """Heartbeats cannot be stored, so all seem dead."""
    for table in ("worker", "scheduler"):
        shift(running, table, "seen_at", 1_000)
    assert set(said(running)) == {"scheduler", "workers"}
    # The file may not grow: as on a full disk, SQLite's error is "database or disk is full".
    what, statement = {
        "sqlite": ("disk", "PRAGMA max_page_count = 1"),
        "postgresql": ("database", "SET SESSION default_transaction_read_only = on"),
    }[running.dialect]

    def obstruct(opened: Any, _record: Any) -> None:
        opened.execute(statement)
        opened.commit()

    running.engine.dispose()
    event.listen(running.engine, "connect", obstruct)
    with pytest.raises(UnwritableError, match="cannot be written"):
        execute(
            running,
            "INSERT INTO worker SELECT :long, host, pid, queue, device, versions, "
            "state, NULL, NULL, 0, 0, 0, '', 0, '' FROM worker",
            long="x" * 100_000,
        )
    found = conditions.examine(running, SETTINGS)
    levels = conditions.worst(found)
    assert levels[Subject(what)] is Level.FAIL
    assert (levels[Subject.SCHEDULER], levels[Subject.WORKERS]) == (Level.NOTE, Level.NOTE)
    assert list(said(running)) == [what]


# A database that was away.


def test_silence_means_nothing_while_nothing_could_be_heard(
    running: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift(running, "scheduler", "seen_at", 1_000)
    assert "scheduler" in said(running)
    running.note_interruption()
    assert said(running) == {}
    monkeypatch.setattr(running, "_missed_at", running._missed_at - 21)
    assert "scheduler" in said(running)


def test_a_heartbeat_that_took_long_was_an_interruption(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = ProcessHeartbeat(Settings(heartbeat_seconds=0.001), database, Role.WEB)
    assert database.heard_seconds > 1e9
    heartbeat.beat()
    assert database.heard_seconds < 60
    (found,) = fleet.list_processes(database, SETTINGS)
    assert (found.role, found.state, found.alive) == ("web", "running", True)


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[services.PostgreSQL]:
    """A PostgreSQL server of the test's own, which says when it started."""
    if programs := services.PostgreSQL.missing():
        missing(programs)
    real = "extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::double precision"
    monkeypatch.setitem(transaction._TERMS["postgresql"], "uptime", real)
    transaction._statement.cache_clear()
    folder = Path(tempfile.mkdtemp(prefix="headwise-test-"))
    server = services.PostgreSQL(folder)
    try:
        server.create()
        server.start()
        server.await_answer()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        transaction._statement.cache_clear()


@pytest.mark.services
def test_a_restarted_database_is_not_a_missing_scheduler(own_server: services.PostgreSQL) -> None:
    first = Database(own_server.url)
    first.migrate()
    fleet.report_scheduler(first, WHO, **SAID)
    shift(first, "scheduler", "seen_at", 1_000)
    assert said(first) == {}, "it has just started"
    own_server.restart()
    own_server.await_answer()
    # Another process, which has noticed nothing.
    second = Database(own_server.url)
    assert said(second) == {}
    quick = Settings(heartbeat_seconds=0.001)
    execute(second, "UPDATE scheduler SET beat_seconds = 0.001")
    assert "No scheduler is running" in conditions.notices(second, quick)[0].message
    for database in (first, second):
        database.close()


# A broker that answers, but takes nothing.


@pytest.mark.services
def test_a_full_broker_is_said(running: Database, redis_url: str) -> None:
    settings = load_settings({}, broker_url=redis_url)
    heartbeat = SchedulerHeartbeat(settings, running, make_app(settings))
    redis = Redis.from_url(redis_url)
    before = redis.config_get("maxmemory")["maxmemory"]
    try:
        redis.config_set("maxmemory", 1)
        heartbeat._check_broker()
    finally:
        redis.config_set("maxmemory", before)
    execute(running, "DELETE FROM scheduler")
    heartbeat._beat()
    (notice,) = conditions.notices(running, SETTINGS)
    assert notice.what == "broker"
    assert "maxmemory" in notice.remedy
    heartbeat._check_broker()
    heartbeat._beat()
    assert said(running) == {}
    assert redis.keys("*headwise.ping*") == []
