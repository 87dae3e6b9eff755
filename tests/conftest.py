"""Fixtures every suite shares: databases, and what the machine offers.

With CI=true nothing may be skipped: a missing service or dataset fails the run.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from db.database import Database

# Tiny models: a second thread only waits for the first. Read when torch is imported, also by the
# processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
POSTGRES = os.environ.get("TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
STRICT = os.environ.get("CI") == "true"


def missing(what: str) -> None:
    """Skip where a thing is missing; in CI, fail."""
    if STRICT:
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real datasets and models beside the checkout."""
    folder = Path(os.environ.get("TEST_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        missing("the shared datasets and models")
    return folder


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A fresh PostgreSQL database, dropped at the end."""
    name = f"headwise_test_{uuid.uuid4().hex[:12]}"
    try:
        admin = psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError:
        missing("PostgreSQL (TEST_POSTGRES)")
        raise AssertionError from None
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{POSTGRES}/{name}".replace("postgresql://", "postgresql+psycopg://")
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database: every test that takes it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'headwise.sqlite'}"
    else:
        url = request.getfixturevalue("postgres_url")
    database = Database(url)
    database.migrate()
    yield database
    database.close()
