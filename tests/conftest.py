"""Fixtures of every suite: databases, brokers, and the real datasets and models.

Tests run side by side in several processes (`make test`). Each process starts the servers it needs
on free ports, and every test has a database of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

import pytest

from db import transaction
from db.database import Database
from tests.helpers import services
from tests.helpers.databases import PostgresDatabases, sqlalchemy_url, sqlite_database
from tests.helpers.environment import missing
from tests.helpers.violations import violations

# Tiny models: a second thread only waits for the first, and a test that wants two gets threads that
# sleep while they wait, as the machine has other tests to run. Read when torch is imported, also by
# the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A shell ignores Ctrl+C in what it runs in the background; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Nobody's own login: commands and processes that tests start would speak to that server.
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"

ROOT = Path(__file__).parents[1]


def pytest_xdist_auto_num_workers() -> int:
    """One more than the cores: tests of processes wait much of the time."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collections: each looked at all of it, for 0.8 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real datasets and models beside the checkout."""
    folder = Path(os.environ.get("TEST_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        missing("the shared datasets and models")
    return folder


@pytest.fixture(scope="session")
def pango() -> None:
    """The library that lays out the PDFs of reports."""
    if find_library("pangoft2-1.0") is None:
        missing("Pango (libpangoft2-1.0-0)")


@pytest.fixture(autouse=True)
def _described_answers() -> Iterator[None]:
    """Fail a test whose requests to the API got an answer that its document does not describe."""
    violations.clear()
    yield
    assert violations == []


# Servers: those that the environment names, or started here.


@contextmanager
def started(kind: type[services.Server], variable: str) -> Iterator[str]:
    """The address of a server: that of an environment variable, or of one started for this run."""
    if given := os.environ.get(variable):
        yield given
        return
    if programs := kind.missing():
        missing(f"{programs} (or {variable}, the address of a server)")
    with services.running(kind) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Address of a PostgreSQL server, up to the slash before the database."""
    with started(services.PostgreSQL, "TEST_POSTGRES") as url:
        yield url.replace("postgresql+psycopg:", "postgresql:").removesuffix("/postgres")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Address of a Redis server."""
    with started(services.Redis, "TEST_REDIS") as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """Address of a RabbitMQ server."""
    with started(services.RabbitMQ, "TEST_RABBITMQ") as url:
        yield url


# Databases.


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: str) -> Iterator[PostgresDatabases]:
    """The databases that tests take from a PostgreSQL server."""
    databases = PostgresDatabases(postgres_server)
    yield databases
    databases.close()


@pytest.fixture
def empty_postgres_url(postgres_databases: PostgresDatabases) -> Iterator[str]:
    """A PostgreSQL database without a schema."""
    with postgres_databases.empty() as name:
        yield sqlalchemy_url(postgres_databases.server, name)


@pytest.fixture
def postgres_url(postgres_databases: PostgresDatabases) -> Iterator[str]:
    """A migrated PostgreSQL database."""
    with postgres_databases.migrated() as name:
        yield sqlalchemy_url(postgres_databases.server, name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database: every test that takes it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        database = sqlite_database(tmp_path / "headwise.sqlite")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
    yield database
    database.close()


@pytest.fixture(autouse=True, scope="session")
def settled_servers() -> None:
    """Servers have run for long: one that a test run has just started excuses silent processes."""
    transaction._TERMS["postgresql"]["uptime"] = "1e9"


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Databases read the same time in the whole test, however slow the machine is."""
    for terms in transaction._TERMS.values():
        monkeypatch.setitem(terms, "clock", f"CAST({time.time()} AS DOUBLE PRECISION)")
    transaction._statement.cache_clear()
    yield
    transaction._statement.cache_clear()
