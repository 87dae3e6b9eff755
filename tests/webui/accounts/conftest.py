"""One dashboard with sign-in for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db.console.postgresql.role import create_console_role
from tests.helpers.databases import PostgresDatabases, sqlalchemy_url
from tests.webui.accounts.people import Lab, open_lab

BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.services))


@pytest.fixture(scope="module", params=BOTH)
def stored(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Settings of a database of the module's own; SQLite's file is in the data folder."""
    if request.param == "sqlite":
        yield {}
        return
    databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
    with databases.migrated() as name:
        url = sqlalchemy_url(databases.server, name)
        console = create_console_role(url, "headwise-console-test")
        yield {"database_url": url, "console_url": console}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, stored: dict[str, str]) -> Iterator[Lab]:
    """It has an administrator ("Root"), a member ("Ada") and a viewer ("Vera")."""
    with open_lab(tmp_path_factory.mktemp("lab"), **stored) as lab:
        lab.add("Root", "admin")
        lab.add("Ada", "member")
        lab.add("Vera", "viewer")
        yield lab


@pytest.fixture(autouse=True)
def _clients(request: pytest.FixtureRequest) -> Iterator[None]:
    """Clients of a test end with it. Tests that make a dashboard themselves run on one database."""
    yield
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").close_clients()
