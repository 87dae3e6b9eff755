"""Every table says how long its rows are kept, and exactly that is left after each removal."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    insert,
    or_,
    select,
)

from db import schema
from db.database import Database
from db.kinds import KINDS
from db.ops import deletion, retention
from db.results import partitions
from db.schema.lifetimes import Lifetime
from db.schema.metadata import metadata

GONE, KEPT, PARENT = 1, 2, 3
"""A job to remove, one beside it, and one that needs the first."""

DETAILS = {
    *("head_score", "site_result", "edge", "head_value", "trigger_outcome", "example_result"),
    *("strongest", "score_sample", "head_matrix"),
}
PARTIAL_SUMS = {"ranking_sum", "mask_sum", "shard_top", "partial_block"}
INSTALLATION = {
    *("published", "scheduler", "worker", "process", "tally", "usage", "recurring"),
    *("recurring_run", "recipient", "notification", "open_condition", "reply"),
    *("account", "identity", "session", "token", "link", "failed_sign_in", "audit", "sample"),
    *("fair_share", "claim_count", "own_query"),
}


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_says_how_long_its_rows_are_kept(table: Table) -> None:
    lifetime = table.info.get("lifetime")
    assert isinstance(lifetime, Lifetime), f"{table.name}: give it info=kept(...)"
    if lifetime not in (Lifetime.INSTALLATION, Lifetime.STUDY) and table is not schema.job:
        names_job = {key.parent for key in table.foreign_keys if key.column is schema.job.c.id}
        assert "job_id" in table.c
        assert table.c.job_id in {*table.primary_key.columns, *names_job}


def value(column: Column[Any], job: int) -> Any:
    """Some value of the column's type, another one for each job."""
    values: list[tuple[type, Any]] = [
        *((Boolean, False), (Double, 1.5), (Text, f"text {job}"), (LargeBinary, b"bytes")),
        (Integer, job),
    ]
    return next((value for kind, value in values if isinstance(column.type, kind)), 0.5)


def fill(database: Database, job: int) -> None:
    """Write a row into every table, of this job where it is a table of jobs."""
    final = {"state": "succeeded", "control": "run"}
    with database.write() as tx:
        if database.dialect == "sqlite":
            tx.run("PRAGMA defer_foreign_keys = ON")  # older files have more of them
        for table in metadata.sorted_tables:
            row = {column.key: value(column, job) for column in table.columns}
            if table is schema.job:
                row |= {**final, "purged_at": None, "finished_at": 1.0}
            if table is schema.job_parent:
                row["parent_id"] = KEPT
            tx.execute(insert(table).values(row))


@pytest.fixture
def filled(database: Database) -> Database:
    with database.write() as tx:
        tx.execute(schema.published.delete())
    for job in (KEPT, GONE):
        fill(database, job)
    with database.write() as tx:
        row = {column.key: value(column, PARENT) for column in schema.job.columns}
        tx.execute(insert(schema.job).values({**row, "state": "succeeded", "control": "run"}))
        tx.execute(insert(schema.job_parent).values(job_id=PARENT, parent_id=GONE))
    return database


def left(database: Database, job: int) -> set[str]:
    """The tables with a row of this job; of this study, for jobs of one study each."""
    found = set()
    with database.read() as tx:
        for table in metadata.sorted_tables:
            names = {"job_id", "parent_id"} & set(table.c.keys()) or set(table.primary_key.c.keys())
            mine = or_(*(table.c[name] == value(table.c[name], job) for name in names))
            if tx.execute(select(func.count()).select_from(table).where(mine)).scalar():
                found.add(table.name)
    return found


ALL = {table.name for table in metadata.sorted_tables}


def test_purging_removes_details_alone(filled: Database) -> None:
    assert left(filled, GONE) == ALL
    retention.purge(filled, GONE)
    assert retention.remove_details(filled, seconds=60)
    assert left(filled, GONE) == ALL - DETAILS
    assert left(filled, KEPT) == ALL
    e = schema.example.c
    with filled.read() as tx:
        texts = tx.execute(select(e.text_a, e.text_b, e.text_hash).order_by(e.job_id)).all()
    assert [tuple(row) for row in texts] == [(None, None, "text 1"), ("text 2",) * 3]


def test_deleting_leaves_the_rows_of_the_installation(filled: Database) -> None:
    with filled.write() as tx:
        assert deletion.mark(tx, GONE)
    assert deletion.empty_jobs(filled, seconds=60) == [GONE]
    assert left(filled, GONE) == INSTALLATION
    assert left(filled, KEPT) == ALL


def test_merged_results_need_no_partial_sums(filled: Database) -> None:
    assert deletion.end_run(filled, GONE, seconds=60)
    assert left(filled, GONE) == ALL - PARTIAL_SUMS
    assert left(filled, KEPT) == ALL


def test_details_with_many_rows_are_partitioned(database: Database) -> None:
    expected = {table.name for table in partitions.partitioned()}
    assert {table.name for kind in KINDS.values() for table in kind.large} == expected
    if database.dialect == "postgresql":
        named = "SELECT relname FROM pg_class WHERE relkind = 'p' AND relname NOT LIKE '%_alone'"
        with database.read() as tx:
            assert set(tx.run(named).scalars()) == expected
