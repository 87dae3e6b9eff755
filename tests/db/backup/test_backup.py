"""Making backups."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import insert

from db import schema
from db.backup import manifest as manifests
from db.backup import postgresql, programs
from db.backup.backup import back_up
from db.backup.manifest import Content, CopyError
from db.database import Database
from jobs.errors import ConflictError, InputError, UnavailableError
from jobs.settings import Settings
from tests.db.backup.conftest import silent
from tests.helpers.databases import one
from tests.helpers.jobs import job_values

DIGEST, ELSEWHERE = "0123456789abcdef" * 2, "f" * 32


def test_a_backup_holds_every_table(stocked: Database, copy: Path) -> None:
    manifest = manifests.read(copy)
    with stocked.read() as tx:
        assert manifest.content == manifests.content(tx)
    assert manifest.content.rows.keys() >= set(schema.metadata.tables)
    assert (
        manifest.content.rows["head_score"] == one(stocked, "SELECT COUNT(*) FROM head_score") > 0
    )
    assert manifest.content.results == {
        "1": one(stocked, "SELECT result_hash FROM job WHERE id = 1")
    }
    manifest.check_files(copy, silent)
    assert copy.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in copy.iterdir()) == [manifest.database, "manifest.json"]
    assert [path.name for path in copy.parent.glob("copy*")] == ["copy"]


def test_uploads_are_in_it(stocked: Database, settings: Settings, tmp_path: Path) -> None:
    file = settings.uploads / DIGEST / "Übung.csv"
    file.parent.mkdir(parents=True)
    file.write_text("text\n")
    unused = settings.uploads / ("0" * 32) / "unused.csv"
    unused.parent.mkdir()
    unused.write_text("text\n")
    with stocked.write() as tx:
        for digest in (DIGEST, ELSEWHERE):
            spec = json.dumps({"data": {"path": f"/old/uploads/{digest}/Übung.csv"}})
            tx.execute(insert(schema.job), job_values(spec=spec, created_at=1.0))
    manifest, missing = back_up(stocked, settings, tmp_path / "copy", silent)
    assert [path for path in manifest.files if "/" in path] == [f"uploads/{DIGEST}/Übung.csv"]
    assert (tmp_path / f"copy/uploads/{DIGEST}/Übung.csv").read_text() == "text\n"
    assert missing == [ELSEWHERE]


def test_nothing_is_left_of_a_backup_that_is_stopped(
    stocked: Database, settings: Settings, tmp_path: Path
) -> None:
    def stop(step: str, done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(stocked, settings, tmp_path / "copy", stop)
    assert not list(tmp_path.glob("copy*"))
    # A killed process leaves its part, and the next one removes it.
    part = tmp_path / "copy.part"
    (part / "uploads").mkdir(parents=True)
    (part / "database.dump").write_text("half")
    handle = os.open(part, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ConflictError, match="Another backup is being written"):
        back_up(stocked, settings, tmp_path / "copy", silent)
    assert part.exists()
    os.close(handle)
    manifest, _ = back_up(stocked, settings, tmp_path / "copy", silent)
    assert list(manifest.files) == [manifest.database]
    assert not part.exists()


def test_a_place_that_is_taken_or_cannot_be_written_is_refused(
    stocked: Database, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="TO: exists"):
        back_up(stocked, settings, tmp_path / "taken", silent)
    assert (tmp_path / "taken").read_text() == "mine"
    with pytest.raises(InputError, match="cannot be made: No such file"):
        back_up(stocked, settings, tmp_path / "none/copy", silent)


def test_space_is_checked_before(
    stocked: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(UnavailableError, match=r"A backup takes about .*, and .* has 1.0 kB left"):
        back_up(stocked, settings, tmp_path / "copy", silent)
    assert not list(tmp_path.glob("copy*"))


def test_a_database_without_a_schema_has_nothing_to_copy(
    empty: Database, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(UnavailableError, match="There is no"):
        back_up(empty, settings, tmp_path / "copy", silent)


def test_copies_that_differ_are_told_apart() -> None:
    original = Content(rows={"job": 2, "shard": 3}, results={"1": "a", "12": "b"})
    original.compare(original)
    with pytest.raises(CopyError, match="The copy has 2 rows of shard, the original 3"):
        original.compare(Content(rows={"job": 2, "shard": 2}, results=original.results))
    with pytest.raises(CopyError, match="The copy has 0 rows of job, the original 2"):
        original.compare(Content(rows={"shard": 3}, results=original.results))
    for results in ({"1": "a"}, {"1": "a", "12": "c"}, {"1": "a", "12": "b", "13": "c"}):
        with pytest.raises(CopyError, match=r"The results of job 1[23] differ"):
            original.compare(Content(rows=original.rows, results=results))


def test_writers_go_on_while_sqlite_is_copied(
    stocked: Database, settings: Settings, tmp_path: Path
) -> None:
    """Rows written after the beginning are not in the copy, and do not begin it anew."""
    if stocked.dialect != "sqlite":
        return
    written = []

    def write(step: str, done: int) -> None:
        if not written:
            with closing(sqlite3.connect(str(stocked.engine.url.database))) as other, other:
                other.execute("DELETE FROM head_score")
            written.append(step)

    manifest, _ = back_up(stocked, settings, tmp_path / "copy", write)
    assert written == ["copying the database"]
    assert manifest.content.rows["head_score"] > 0
    assert one(stocked, "SELECT COUNT(*) FROM head_score") == 0


@pytest.mark.services
def test_a_dump_is_read_to_its_end(postgres_url: str, tmp_path: Path) -> None:
    database = Database(postgres_url)
    with database.write() as tx:
        tx.run_as_is('CREATE TABLE "odd ""name" (a text)')
        tx.run_as_is(r"""INSERT INTO "odd ""name" VALUES (E'a\nb\t\\.'), ('\.'), (NULL), ('')""")
    found, *_ = postgresql.copy(database, tmp_path / "dump", silent)
    assert found.rows['odd "name'] == 4
    whole = (tmp_path / "dump").read_bytes()
    (tmp_path / "dump").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnavailableError, match="The copy cannot be read"):
        postgresql.examine(tmp_path / "dump", {}, silent)
    with database.write() as tx:
        tx.run_as_is('DROP TABLE "odd ""name"')
    database.close()


@pytest.mark.services
def test_a_role_that_may_not_read_is_told_what_it_needs(
    postgres_url: str, settings: Settings, tmp_path: Path
) -> None:
    database = Database(postgres_url)
    name = f"headwise_reader_{tmp_path.name[-12:]}"
    with database.write() as tx:
        tx.run_as_is(f'CREATE ROLE "{name}" LOGIN')
        tx.run_as_is(f'GRANT SELECT ON job, alembic_version TO "{name}"')
    poor = Database(database.engine.url.set(username=name).render_as_string(hide_password=False))
    try:
        with pytest.raises(InputError, match=r"permission denied for .*GRANT pg_read_all_data"):
            postgresql.copy(poor, tmp_path / "dump", silent)
    finally:
        poor.close()
        with database.write() as tx:
            tx.run_as_is(f'DROP OWNED BY "{name}"')
            tx.run_as_is(f'DROP ROLE "{name}"')
        database.close()


def test_programs_must_be_there_and_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"pg_dump is not installed.*version 15 or newer"):
        programs.find("pg_dump", at_least=15)
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.2 (Debian 14.2-1)'\n")
    program.chmod(0o755)
    with pytest.raises(UnavailableError, match=r"is of version 14, too old\. Install"):
        programs.find("pg_dump", at_least=15)
    assert programs.find("pg_dump", at_least=14) == (str(program), 14)


def test_no_password_is_on_a_command_line() -> None:
    url, environment = programs.address("postgresql+psycopg://ada:s%40cret@h:5/d?sslmode=require")
    assert url == "postgresql://ada@h:5/d?sslmode=require"
    assert environment["PGPASSWORD"] == "s@cret"
