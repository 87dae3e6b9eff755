"""headwise doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from tests.cli.conftest import Headwise
from tests.helpers.jobs import ALICE


def test_doctor_finds_a_new_installation_good(headwise: Headwise, home: Path) -> None:
    ran = headwise("doctor")
    assert ran.status == 0
    assert f"ok   data folder: {home}" in ran.out
    found = headwise("doctor", "--json").json
    assert [check["name"] for check in found["checks"]] == [
        "python",
        "data folder",
        "database",
        "broker",
        "workers",
        "packages",
        "device",
    ]
    assert all(check["ok"] and check["detail"] for check in found["checks"])


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
