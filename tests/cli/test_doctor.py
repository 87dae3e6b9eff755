"""headwise doctor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

from db.database import Database
from db.ops import conditions, fleet
from db.ops.fleet import ProcessState, Vitals
from jobs.processes import space
from jobs.processes.report import Report
from jobs.settings import load_settings
from tests.cli.conftest import Headwise
from tests.helpers.fleet import SAID, WHO
from tests.helpers.jobs import ALICE, planned_job


def levels(headwise: Headwise) -> dict[str, str]:
    return {found["name"]: found["level"] for found in headwise("doctor", "--json").json["checks"]}


def test_doctor_warns_of_what_a_new_installation_lacks(headwise: Headwise, home: Path) -> None:
    (home / "headwise.sqlite").unlink(missing_ok=True)
    ran = headwise("doctor")
    assert ran.status == 0
    assert f"ok   data folder: {home}" in ran.out
    assert "warn database: sqlite: there is no schema yet: run `headwise migrate`" in ran.out
    found = headwise("doctor", "--json").json["checks"]
    own = ["python", "packages", "device", "data folder", "broker", "database", "disk"]
    assert [check["name"] for check in found] == own
    assert all(check["ok"] and check["detail"] for check in found)


@pytest.mark.usefixtures("store")
def test_nothing_runs_and_nothing_is_to_do(headwise: Headwise) -> None:
    found = levels(headwise)
    assert {name: level for name, level in found.items() if level != "ok"} == {
        "scheduler": "warn",
        "workers": "note",
    }
    assert headwise("doctor").status == 0


@pytest.mark.usefixtures("store")
def test_a_dashboard_that_others_reach_without_sign_in_is_a_warning(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "sign-in" not in levels(headwise)
    monkeypatch.setenv("HEADWISE_TRUSTED_HOSTS", "headwise.example.org")
    monkeypatch.setenv("HEADWISE_TRUSTED_PROXIES", "127.0.0.1")
    ran = headwise("doctor")
    named = "HEADWISE_TRUSTED_HOSTS and HEADWISE_TRUSTED_PROXIES"
    assert f"warn sign-in: {named} let others reach" in ran.out
    for answer in ("none", "password"):
        monkeypatch.setenv("HEADWISE_AUTH", answer)
        assert "sign-in" not in levels(headwise)


def test_jobs_without_processes_are_a_failure(headwise: Headwise, store: Database) -> None:
    """It said ok to jobs that waited with no scheduler and no worker."""
    planned_job(store)
    ran = headwise("doctor")
    assert ran.status == 1
    assert "FAIL scheduler: No scheduler is running" in ran.out
    assert "FAIL workers: No worker of the queue default is alive: 1 running job waits" in ran.out
    older = Vitals(report=Report(version="0.0.9").to_json())
    fleet.report_worker(store, ALICE, ProcessState.IDLE, vitals=older)
    fleet.report_scheduler(store, WHO, **SAID)
    found = levels(headwise)
    assert (found["scheduler"], found["workers"]) == ("ok", "ok")
    assert found["releases"] == "warn"
    assert "others are 0.0.9 (1)" in headwise("doctor").out


@pytest.mark.parametrize(("free", "inodes"), [(100, 10**6), (10**12, 5)])
def test_a_full_disk_is_a_failure_and_a_notice(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int
) -> None:
    real = space.os.statvfs

    def full(folder: object) -> SimpleNamespace:
        found = real(folder)
        return SimpleNamespace(
            f_bavail=free, f_frsize=1, f_favail=inodes, f_files=found.f_files or 1
        )

    monkeypatch.setattr(space.os, "statvfs", full)
    ran = headwise("doctor")
    assert ran.status == 1
    assert "FAIL disk: The disk of " in ran.out
    assert conditions.notices(store, load_settings())[0].what == "disk"


def test_a_clock_that_is_wrong_is_a_warning(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = fleet.time.time()
    monkeypatch.setattr(fleet.time, "time", lambda: now + 3_600)
    line = next(line for line in headwise("doctor").out.splitlines() if " clocks: " in line)
    # The answer of the database takes a moment, which counts as none.
    assert line.startswith("warn clocks: The clock of this machine is 3")
    assert "s ahead of the database's" in line


@pytest.mark.services
def test_a_broker_that_takes_no_messages_is_a_failure(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    """Redis without memory answers, but takes nothing: it was ok."""
    monkeypatch.setenv("HEADWISE_BROKER_URL", redis_url)
    assert levels(headwise)["broker"] == "ok"
    redis = Redis.from_url(redis_url)
    before = redis.config_get("maxmemory")["maxmemory"]
    try:
        redis.config_set("maxmemory", 1)
        ran = headwise("doctor")
    finally:
        redis.config_set("maxmemory", before)
    assert ran.status == 1
    assert "FAIL broker: The broker takes no messages: " in ran.out


@pytest.mark.parametrize(
    ("key", "value", "check"),
    [
        ("HEADWISE_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/d", "database"),
        ("HEADWISE_BROKER_URL", "redis://:secret@127.0.0.1:1/0", "broker"),
    ],
)
def test_doctor_names_what_does_not_answer(
    headwise: Headwise, monkeypatch: pytest.MonkeyPatch, key: str, value: str, check: str
) -> None:
    monkeypatch.setenv(key, value)
    ran = headwise("doctor", "--json")
    assert ran.status == 1
    failed = {found["name"]: found["detail"] for found in ran.json["checks"] if not found["ok"]}
    assert "does not answer" in failed[check]
    assert "secret" not in ran.out
    assert "FAIL" in headwise("doctor").out


def test_doctor_counts_live_workers(headwise: Headwise, store: Database) -> None:
    fleet.report_worker(store, ALICE, ProcessState.IDLE)
    assert "workers: 1 alive: 1 on cpu for default\n" in headwise("doctor").out
