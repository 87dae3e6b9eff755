"""Restoring backups."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import insert

from db import schema
from db.backup import manifest as manifests
from db.backup.backup import back_up
from db.backup.manifest import CopyError
from db.backup.restore import REASON, restore
from db.console.console import Console
from db.console.postgresql.role import create_console_role
from db.database import Database
from db.queue import claims, lifecycle
from db.results import commit as results
from db.upgrades import alembic_config, code_revision
from jobs.errors import ConflictError, HeadwiseError, InputError, UnavailableError
from jobs.inputs.data.examples import allowed_path
from jobs.settings import Settings
from tests.db.backup.conftest import silent
from tests.helpers.databases import execute, one, rows
from tests.helpers.jobs import ALICE, completed, job_values

RESULTS = "SELECT job_id, example_no, site, head, score FROM head_score ORDER BY 1, 2, 3, 4"


def put_back(database: Database, settings: Settings, copy: Path, *, replace: bool = False) -> None:
    restore(database, settings, copy, silent, replace=replace)


def test_jobs_go_on(stocked: Database, copy: Path, empty: Database, settings: Settings) -> None:
    stored = rows(stocked, RESULTS)
    put_back(empty, settings, copy)
    assert rows(empty, RESULTS) == stored
    assert one(empty, "SELECT COUNT(*) FROM shard WHERE state = 'leased'") == 0
    assert rows(empty, "SELECT outcome, error, seconds FROM attempt WHERE job_id = 2") == [
        ("handed-back", REASON, None)
    ]
    assert rows(empty, "SELECT errors, losses FROM shard WHERE job_id = 2 AND fence > 0") == [
        (0, 0)
    ]
    while held := claims.claim(empty, ALICE, 60):
        assert results.commit_shard(empty, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(empty)
    lifecycle.finish_jobs(empty)
    [(first,), (second,)] = rows(empty, "SELECT result_hash FROM job ORDER BY id")
    assert first == second == one(stocked, "SELECT result_hash FROM job WHERE id = 1")
    with empty.write() as tx:  # numbers of jobs go on, too
        tx.execute(insert(schema.job), job_values(created_at=1.0))
    assert one(empty, "SELECT MAX(id) FROM job") == 3


def test_a_database_that_is_not_empty_is_replaced_on_request_only(
    stocked: Database, copy: Path, settings: Settings
) -> None:
    stored = rows(stocked, RESULTS)
    execute(stocked, "UPDATE job SET name = 'later'")
    execute(stocked, "CREATE TABLE later (a INTEGER)")
    with pytest.raises(ConflictError, match=r"not empty: there are rows in .*--replace"):
        put_back(stocked, settings, copy)
    assert one(stocked, "SELECT COUNT(*) FROM job WHERE name = 'later'") == 2
    put_back(stocked, settings, copy, replace=True)
    assert one(stocked, "SELECT COUNT(*) FROM job WHERE name = 'later'") == 0
    assert rows(stocked, RESULTS) == stored
    with stocked.read() as tx:
        assert "later" not in manifests.parts(tx)


def test_a_new_database_with_a_schema_is_empty(
    copy: Path, empty: Database, settings: Settings
) -> None:
    empty.migrate()
    put_back(empty, settings, copy)
    assert one(empty, "SELECT COUNT(*) FROM job") == 2


@pytest.mark.parametrize("table", ["worker", "scheduler"])
def test_processes_must_be_stopped(
    copy: Path, empty: Database, settings: Settings, table: str
) -> None:
    empty.migrate()
    values: dict[str, object] = {"name": "a@host", "host": "host", "pid": 1, "state": "idle"}
    if table == "worker":
        values |= {"queue": "default", "device": "cpu", "versions": "{}"}
    else:
        values |= {"broker": "redis", "moved_at": 0.0, "beat_seconds": 10.0}
    times = {"started_at": 0.0, "seen_at": time.time()}
    with empty.write() as tx:
        tx.execute(insert(schema.metadata.tables[table]), {**values, **times})
    with pytest.raises(ConflictError, match=rf"Processes use the database: {table} a@host\."):
        put_back(empty, settings, copy, replace=True)
    execute(empty, f"UPDATE {table} SET seen_at = seen_at - 61")
    put_back(empty, settings, copy)


def test_a_copy_that_changed_changes_nothing(
    stocked: Database, copy: Path, settings: Settings
) -> None:
    execute(stocked, "UPDATE job SET name = 'later'")
    manifest = manifests.read(copy)
    file = copy / manifest.database
    whole = file.read_bytes()
    for broken in (whole[:-100], whole[:2_000] + bytes([whole[2_000] ^ 1]) + whole[2_001:]):
        file.write_bytes(broken)
        with pytest.raises(CopyError, match="has changed since the backup was made"):
            put_back(stocked, settings, copy, replace=True)
    file.write_bytes(whole)
    rows_wrong = {**manifest.content.rows, "head_score": 7}
    for content in (
        replace(manifest.content, rows=rows_wrong),
        replace(manifest.content, results={"1": "another"}),
        replace(manifest.content, results={}),
    ):
        replace(manifest, content=content).write(copy)
        with pytest.raises(CopyError):
            put_back(stocked, settings, copy, replace=True)
    # Damage that its hash does not tell: a dump that ends, a file that is no database.
    file.write_bytes(whole[: len(whole) // 2])
    digest = manifests.sha256(file, silent)
    replace(manifest, files={manifest.database: digest}).write(copy)
    with pytest.raises((CopyError, UnavailableError)):
        put_back(stocked, settings, copy, replace=True)
    assert one(stocked, "SELECT COUNT(*) FROM job WHERE name = 'later'") == 2
    assert not list(copy.parent.rglob("*.restoring*"))


def test_what_is_no_backup_of_this_release_is_refused(
    copy: Path, empty: Database, settings: Settings, tmp_path: Path
) -> None:
    manifest = manifests.read(copy)

    def refusal() -> str:
        with pytest.raises(InputError) as refused:
            put_back(empty, settings, copy)
        return str(refused.value)

    replace(manifest, revision="9999").write(copy)
    assert f"has a newer schema (9999) than this release ({code_revision()})" in refusal()
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[manifest.dialect]
    replace(manifest, dialect=other).write(copy)
    assert f"is of {other}, and HEADWISE_DATABASE_URL of {manifest.dialect}" in refusal()
    replace(manifest, format=2).write(copy)
    assert "has format 2, this release knows 1" in refusal()
    replace(manifest, files={"../../etc/passwd": ""}).write(copy)
    assert "names files outside of it" in refusal()
    (copy / "manifest.json").write_text("{}")
    assert "has another form" in refusal()
    (copy / "manifest.json").unlink()
    assert "is not a backup" in refusal()


def test_an_older_backup_is_migrated(empty: Database, settings: Settings, tmp_path: Path) -> None:
    old = Database(f"sqlite:///{tmp_path / 'old.sqlite'}") if empty.dialect == "sqlite" else empty
    with old.write() as tx:
        config = alembic_config()
        config.attributes["connection"] = tx.connection
        command.upgrade(config, "0020")
    back_up(old, settings, tmp_path / "copy", silent)
    old.close()
    put_back(empty, settings, tmp_path / "copy", replace=True)
    assert empty.schema_is_current()
    assert one(empty, "SELECT COUNT(*) FROM jobs") == 0


def test_uploads_are_found_in_another_data_folder(
    stocked: Database, empty: Database, settings: Settings, tmp_path: Path
) -> None:
    name = f"{'ab' * 16}/pairs.csv"
    old = settings.uploads / name
    old.parent.mkdir(parents=True)
    old.write_text("text\n")
    with stocked.write() as tx:
        spec = json.dumps({"data": {"path": str(old)}})
        tx.execute(insert(schema.job), job_values(spec=spec, created_at=1.0))
    back_up(stocked, settings, tmp_path / "copy", silent)
    there = Settings(home=tmp_path / "there", database_url=empty.url)
    put_back(empty, there, tmp_path / "copy")
    found = allowed_path("data.path", str(old), there)
    assert found == there.uploads / name
    assert found.read_text() == "text\n"
    assert time.time() - found.stat().st_mtime < 600
    with pytest.raises(InputError, match="outside the allowed folders"):
        allowed_path("data.path", str(old).replace("ab", "cd"), there)


@pytest.mark.services
def test_the_console_goes_on_in_the_same_database(postgres_url: str, tmp_path: Path) -> None:
    database = Database(postgres_url)
    console_url = create_console_role(postgres_url, "headwise-console-test")
    settings = Settings(home=tmp_path, database_url=postgres_url, console_url=console_url)
    back_up(database, settings, tmp_path / "copy", silent)
    put_back(database, settings, tmp_path / "copy", replace=True)
    assert Console(settings).run("SELECT 'a' || count(*) FROM jobs").rows == [("a0",)]
    database.close()


@pytest.mark.services
def test_a_process_that_reads_prevents_a_restore(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not waited for, and nothing is dropped."""
    monkeypatch.setattr("db.backup.postgresql_restore.LOCK_SECONDS", 1)
    database, settings = Database(postgres_url), Settings(home=tmp_path, database_url=postgres_url)
    back_up(database, settings, tmp_path / "copy", silent)
    other = Database(postgres_url)
    with other.read() as tx:
        tx.run("SELECT 1 FROM job")
        with pytest.raises(HeadwiseError, match="A process uses the database"):
            put_back(database, settings, tmp_path / "copy", replace=True)
    other.close()
    assert database.schema_is_current()
    database.close()
