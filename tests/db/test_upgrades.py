"""Old and new code on one database: what a migration may change, and who may run where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from db import database as databases
from db import upgrades
from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.schema import published
from db.transaction import Transaction
from db.upgrades import OLDEST_CODE, SchemaState, alembic_config, known_revisions
from db.views import VIEWS
from jobs.errors import ConflictError, UnavailableError
from tests.helpers.jobs import ALICE, BOB


def execute(database: Database, statement: str, **values: Any) -> None:
    with database.write() as tx:
        tx.run(statement, **values)


def test_the_files_of_migrations_have_the_numbers_of_their_revisions() -> None:
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    assert known_revisions() == tuple(reversed([script.revision for script in scripts]))


def at_revision(tx: Transaction, revision: str) -> None:
    """A schema as the code of that revision had it, without its views."""
    for view in VIEWS:
        tx.run(f"DROP VIEW IF EXISTS {view.name}")
    config = alembic_config()
    config.attributes["connection"] = tx.connection
    command.downgrade(config, revision)


def newer(database: Database, oldest_code: str | None) -> None:
    """The schema of a release that this code does not know."""
    execute(database, "UPDATE alembic_version SET version_num = '9999'")
    execute(database, "UPDATE published SET oldest_code = :oldest", oldest=oldest_code)


def test_revisions_are_numbers_that_compare() -> None:
    numbers = [f"{n:04}" for n in range(1, len(known_revisions()) + 1)]
    assert list(known_revisions()) == numbers
    assert OLDEST_CODE in numbers


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a schema."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    else:
        database = Database(request.getfixturevalue("empty_postgres_url"))
    yield database
    database.close()


def test_migrations_since_the_oldest_code_only_expand(empty: Database) -> None:
    """Its statements still find what they name, and its INSERTs need not name what is new."""
    with empty.write() as tx:
        config = alembic_config()
        config.attributes["connection"] = tx.connection
        command.upgrade(config, OLDEST_CODE)
    old = columns(empty)
    empty.migrate()
    new = columns(empty)
    assert old.keys() <= new.keys(), "a table went away or was renamed"
    for table, had in old.items():
        has = new[table]
        assert had.keys() <= has.keys(), f"{table}: a column went away or was renamed"
        for name, column in had.items():
            assert str(column["type"]) == str(has[name]["type"]), f"{table}.{name}"
            assert has[name]["nullable"] or not column["nullable"], f"{table}.{name}"
        for name in has.keys() - had.keys():
            free = has[name]["nullable"] or has[name]["default"] is not None
            assert free, f"{table}.{name} is new: old code cannot insert without a default"


def columns(database: Database) -> dict[str, dict[str, Any]]:
    """Tables with their columns, as the database has them."""
    with database.read() as tx:
        inspector = inspect(tx.connection)
        return {
            table: {column["name"]: column for column in inspector.get_columns(table)}
            for table in inspector.get_table_names()
        }


def test_a_database_says_how_it_stands_to_the_code(database: Database) -> None:
    assert database.schema_state() is SchemaState.CURRENT
    assert known_revisions()[-1] in database.describe_schema()
    newer(database, OLDEST_CODE)
    assert database.schema_state() is SchemaState.NEWER
    assert database.schema_is_current()
    newer(database, "9998")
    assert database.schema_state() is SchemaState.TOO_NEW
    assert not database.schema_is_current()
    assert "9999" in database.describe_schema()
    assert "upgrade headwise" in database.describe_schema()


@pytest.mark.parametrize("said", [None, "9998"])
def test_code_that_is_too_old_leaves_the_database_alone(
    database: Database, said: str | None
) -> None:
    newer(database, said)
    with pytest.raises(UnavailableError, match="9999"):
        database.migrate()
    with database.read() as tx:
        assert set(inspect(tx.connection).get_view_names()) == {view.name for view in VIEWS}


def test_old_code_that_fits_leaves_the_newer_schema_and_its_views(database: Database) -> None:
    newer(database, OLDEST_CODE)
    execute(database, "UPDATE published SET views_hash = 'of the newer release'")
    database.migrate()
    with database.read() as tx:
        assert tx.execute(published.select()).all() == [("of the newer release", OLDEST_CODE)]


def test_a_schema_of_before_is_older(
    database: Database,
) -> None:
    with database.write() as tx:
        at_revision(tx, OLDEST_CODE)
    state = SchemaState.CURRENT if known_revisions()[-1] == OLDEST_CODE else SchemaState.OLDER
    assert database.schema_state() is state


def test_an_empty_database_says_so(empty: Database) -> None:
    assert empty.schema_state() is SchemaState.EMPTY
    assert "headwise migrate" in empty.describe_schema()


def test_a_contracting_migration_waits_for_workers_that_are_too_old(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = known_revisions()[-1]
    versions = {"first release": {}, "old": {"schema": "0001"}, "new": {"schema": head}}
    for name, said in versions.items():
        fleet.report_worker(
            database, replace(ALICE, name=name, versions=json.dumps(said)), ProcessState.IDLE
        )
    fleet.report_worker(database, replace(BOB, name="stopped"), ProcessState.STOPPED)
    fleet.report_worker(database, replace(BOB, name="silent"), ProcessState.IDLE)
    execute(database, "UPDATE worker SET seen_at = seen_at - 121 WHERE name = 'silent'")
    for module in (upgrades, databases):
        monkeypatch.setattr(module, "OLDEST_CODE", head)
    execute(database, "UPDATE published SET oldest_code = '0001'")
    with pytest.raises(ConflictError, match=r"too old for \d+: first release, old\. Stop"):
        database.migrate()
    database.migrate(force=True)
    with database.read() as tx:
        assert tx.execute(published.select()).one().oldest_code == head
