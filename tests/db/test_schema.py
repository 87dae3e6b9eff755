"""Migrations make the tables that `db.schema` describes."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from db.database import Database
from db.results import partitions
from db.schema import metadata

KEPT = {("remove_fk", "fk_example_result_job")}
"""Left in all databases: on SQLite, to remove it would copy the table."""


def differences(database: Database) -> list[Any]:
    """Changes after which a database would have exactly the described tables."""
    described = set(metadata.tables)
    with database.read() as tx, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy reads no indexes of expressions on SQLite
        context = MigrationContext.configure(
            tx.connection,
            opts={"include_name": lambda name, kind, _: kind != "table" or name in described},
        )
        return [change for change in compare_metadata(context, metadata) if not known(change)]


def known(change: Any) -> bool:
    """Return True for the column of partitioned tables, and for what is `KEPT`."""
    what, subject = change[0], change[-1]
    if what == "remove_column":
        return change[2] in {table.name for table in partitions.partitioned()} and (
            subject.name == "alone"
        )
    return (what, getattr(subject, "name", None)) in KEPT


def partial_indexes(database: Database, table: str) -> set[str]:
    """Names of a table's indexes that have a condition."""
    option = f"{database.dialect}_where"
    with database.read() as tx:
        found = inspect(tx.connection).get_indexes(table)
    return {str(one["name"]) for one in found if option in one.get("dialect_options", {})}


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")
def test_a_migrated_database_has_the_described_tables(database: Database) -> None:
    assert differences(database) == []
    for table in metadata.sorted_tables:
        described = {index.name for index in table.indexes if "where" in index.info}
        assert partial_indexes(database, table.name) == described, table.name


def test_a_difference_is_found(database: Database) -> None:
    column = "ALTER TABLE site ADD COLUMN width INTEGER"
    with database.write() as tx:
        tx.run(column)
        tx.run("DROP INDEX ix_shard_ready")
    found = {(change[0], change[-1].name) for change in differences(database)}
    assert found == {("remove_column", "width"), ("add_index", "ix_shard_ready")}
