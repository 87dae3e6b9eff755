"""A database with a finished job and one that is being computed, and another database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.backup.backup import back_up
from db.database import Database
from db.queue import claims, lifecycle
from db.results import commit as results
from jobs.settings import Settings
from tests.helpers import services
from tests.helpers.jobs import ALICE, BOB, completed, planned_job


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's programs on PATH."""
    if found := services.binary("pg_dump"):
        monkeypatch.setenv("PATH", f"{Path(found).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database.url)


@pytest.fixture
def stocked(database: Database) -> Database:
    """A finished job, and one of which a worker has a shard."""
    planned_job(database)
    while held := claims.claim(database, ALICE, 60):
        assert results.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    planned_job(database)
    assert claims.claim(database, BOB, 3600)
    return database


@pytest.fixture
def copy(stocked: Database, settings: Settings, tmp_path: Path) -> Path:
    """A backup of it."""
    back_up(stocked, settings, tmp_path / "copy", silent)
    return tmp_path / "copy"


@pytest.fixture
def empty(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Database]:
    """Another database of the same system, without a schema."""
    if database.dialect == "sqlite":
        found = Database(f"sqlite:///{tmp_path / 'new/headwise.sqlite'}")
    else:
        found = Database(request.getfixturevalue("empty_postgres_url"))
    yield found
    found.close()


def silent(step: str, done: int) -> None:
    """Show no progress."""
