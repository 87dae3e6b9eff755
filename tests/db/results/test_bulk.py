"""Bulk inserts speak to the driver; whoever stores results waits for a database all the same."""

from __future__ import annotations

import numpy as np
import pytest

from db import schema
from db.database import Database
from db.results import bulk
from db.results.bulk import insert_columns, insert_rows
from db.transaction import Transaction
from jobs.errors import UnavailableError
from tests.helpers.jobs import planned_job

COUNT = 2_000


def fail(tx: Transaction, database: Database) -> None:
    """Let the database fail from now on."""
    if database.dialect == "sqlite":
        tx.run(f"PRAGMA max_page_count = {tx.run('PRAGMA page_count').scalar()}")
        return
    session = tx.run("SELECT pg_backend_pid()").scalar()
    with database.write() as other:
        other.run("SELECT pg_terminate_backend(:pid, 60000)", pid=session)


def insert(tx: Transaction, job: int) -> None:
    numbers = {"example_no": np.arange(COUNT, dtype=np.int32)}
    for column in schema.head_score.c:
        if column.name not in ("job_id", "example_no"):
            numbers[column.name] = np.zeros(COUNT, dtype=np.int32)
    insert_columns(tx, schema.head_score, job, {"job_id": np.full(COUNT, job), **numbers})


def test_an_error_of_the_driver_says_that_the_database_is_away(database: Database) -> None:
    """A full disk on SQLite, an ended session on PostgreSQL: neither is a fault of the shard."""
    job = planned_job(database)

    def store() -> None:
        with database.write() as tx:
            fail(tx, database)
            insert(tx, job)

    with pytest.raises(UnavailableError):
        store()


@pytest.mark.parametrize("count", [0, 1, 72, 73, 500])
def test_any_number_of_rows_is_stored_once_and_in_order(
    database: Database, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """SQLite takes 72 rows of ten columns with each statement, and the rest with another."""
    monkeypatch.setattr(bulk, "_ROWS_AT_ONCE", 100)
    job = planned_job(database)
    numbers = {"example_no": np.arange(count)} | {
        name: np.arange(count) % 7 + place
        for place, name in enumerate(("site", "head", "score", "total", "query", "key"))
    }
    numbers |= {name: np.arange(count) / 8 for name in ("attention_max", "attention_mean")}
    columns = {"job_id": np.full(count, job), **numbers}
    texts = [(job, number, 0, 0, f"'{number}\"\n", None) for number in range(count)]
    names = ("job_id", "example_no", "fence", "truncated", "tokens", "error")
    with database.write() as tx:
        assert insert_columns(tx, schema.head_score, job, columns) == count
        insert_rows(tx, schema.example_result, job, names, texts)
    with database.read() as tx:
        query = f"SELECT {', '.join(f'h.{name}' for name in columns)} FROM head_score h"
        stored = tx.run(f"{query} ORDER BY example_no").all()
        assert [tuple(row) for row in stored] == list(zip(*columns.values(), strict=True))
        query = "SELECT tokens, error FROM example_result ORDER BY example_no"
        assert [tuple(row) for row in tx.run(query)] == [(row[4], None) for row in texts]


@pytest.mark.parametrize("count", [0, 1, 60, 250])
def test_numbers_texts_bytes_and_nulls_side_by_side(
    database: Database, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(bulk, "_ROWS_AT_ONCE", 100)
    job = planned_job(database)
    texts = ["", "a\tb\\N\n'\"", "\u65e5\u672c \U0001f642", None, "x" * 70_000]
    columns = {
        "tokens": [texts[n % 5] for n in range(count)],
        "job_id": np.full(count, job),
        "example_no": np.arange(count) + 70_000,
        "predicted": [None if n % 3 == 0 else n - 100 for n in range(count)],
        "fence": np.full(count, 2**31 - 1),
        "head_token_attribution": [
            None if n % 4 == 0 else bytes([n, 0, 255]) for n in range(count)
        ],
        "truncated": np.arange(count) % 2 == 0,
        "error": [None] * count,
    }
    with database.write() as tx:
        assert insert_columns(tx, schema.example_result, job, columns) == count
    query = f"SELECT {', '.join(columns)} FROM example_result ORDER BY example_no"
    found = {name: [] for name in columns}
    for row in database.rows(query):
        for name in columns:
            found[name].append(row[name])
    found["head_token_attribution"] = [v and bytes(v) for v in found["head_token_attribution"]]
    assert found == {name: list(values) for name, values in columns.items()}
