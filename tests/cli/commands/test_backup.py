"""headwise backup and headwise restore."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cli.commands import backup
from db.database import Database
from tests.cli.conftest import Headwise, finished_job
from tests.helpers.databases import one


def test_a_backup_is_made_and_restored(
    headwise: Headwise, store: Database, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_job(store)
    ran = headwise("backup", "copy")
    assert ran.status == 0, ran.err
    assert ran.out.startswith("copy: ")
    assert ", results of 1 job, 0 uploads, checked.\n" in ran.out
    again = headwise("backup", "copy")
    assert (again.status, again.out) == (2, "")
    assert again.err == "headwise: TO: exists (given: '" + str(Path("copy").absolute()) + (
        "'). Choose a new folder.\n"
    )
    refused = headwise("restore", "copy")
    assert refused.status == 2
    assert "The database is not empty: there are rows in attempt" in refused.err
    assert len(refused.err.splitlines()) == 1
    monkeypatch.setenv("HEADWISE_HOME", str(home.parent / "new/home"))
    ran = headwise("restore", "copy")
    assert ran.status == 0, ran.err
    assert ran.out.startswith("Restored ")
    assert "The database is ready: the schema is current (" in ran.out
    assert headwise("restore", "copy", "--replace").status == 0
    assert headwise("jobs", "--json").json[0]["state"] == "succeeded"
    restored = Database(f"sqlite:///{home.parent / 'new/home/headwise.sqlite'}")
    hashes = {one(database, "SELECT result_hash FROM job") for database in (store, restored)}
    assert len(hashes) == 1
    restored.close()


def test_what_is_no_backup_is_refused(headwise: Headwise, home: Path) -> None:
    ran = headwise("restore", str(home))
    assert (ran.status, ran.out) == (2, "")
    assert "is not a backup: its manifest.json cannot be read: No such file" in ran.err
    ran = headwise("backup", "copy")
    assert ran.err == f"headwise: There is no database {home / 'headwise.sqlite'}.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(
    headwise: Headwise, store: Database, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    finished_job(store)
    monkeypatch.setattr(
        backup.backups, "_sync", lambda _: os.kill(os.getpid(), number), raising=True
    )
    assert headwise("backup", "copy").status == 130
    assert not list(Path().glob("copy*"))
