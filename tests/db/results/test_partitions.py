"""Partitions of large jobs on PostgreSQL: by example through a BRIN index, without primary keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from db import schema
from db.database import Database
from db.queue import claims, lifecycle
from db.queue.claims import Claim
from db.results import commit, partitions
from tests.helpers.jobs import ALICE, BOB, HEADS, SITES, completed, planned_job

EXAMPLES = 2_000
SEVERAL = ("head_score", "site_result", "edge")
"""Tables with several rows of an example."""


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job counts as large."""
    monkeypatch.setattr(partitions, "LARGE_JOB_ROWS", 1)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Database]:
    """A migrated PostgreSQL database."""
    database = Database(postgres_url)
    yield database
    database.close()


def rows(database: Database, statement: str) -> list[Any]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


def claimed(database: Database) -> Claim:
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    return held


def indexes(database: Database, table: str) -> list[str]:
    found = rows(database, f"SELECT indexdef FROM pg_indexes WHERE tablename = '{table}'")
    return [definition for (definition,) in found]


def test_only_one_row_an_example_has_a_primary_key(postgres_database: Database) -> None:
    job = planned_job(postgres_database)
    for name in SEVERAL:
        (index,) = indexes(postgres_database, f"{name}_job_{job}")
        assert "USING brin (example_no) WITH (pages_per_range='16')" in index
    assert any("UNIQUE" in one for one in indexes(postgres_database, f"example_result_job_{job}"))


@pytest.mark.parametrize("name", SEVERAL)
def test_an_example_is_found_by_its_index_from_the_first_commit_on(
    postgres_database: Database, name: str
) -> None:
    """Without a vacuum and without statistics of its rows."""
    job = planned_job(postgres_database, EXAMPLES * 10, EXAMPLES * 2)
    for _ in range(2):
        held = claimed(postgres_database)
        assert commit.commit_shard(postgres_database, held, completed(held.lo, held.hi), "model")
    query = f"SELECT * FROM {name} WHERE job_id = {job} AND example_no = {EXAMPLES}"
    plan = "\n".join(line for (line,) in rows(postgres_database, f"EXPLAIN ANALYZE {query}"))
    assert f"Bitmap Index Scan on {name}_job_{job}_by_example" in plan
    blocks = int(plan.split("Heap Blocks: lossy=")[1].split()[0])
    assert blocks <= 2 * partitions.LEAST_PAGES


def test_ranges_grow_with_the_job(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every look-up of a job of 10^10 rows would read millions of ranges."""
    monkeypatch.setattr(partitions, "ROWS_OF_A_PAGE", 1)
    job = planned_job(postgres_database, EXAMPLES, EXAMPLES)
    (index,) = indexes(postgres_database, f"head_score_job_{job}")
    assert f"pages_per_range='{int((EXAMPLES * SITES * HEADS) ** 0.5)}'" in index


def test_a_commit_does_not_wait_for_whoever_maintains_the_partition(
    postgres_database: Database,
) -> None:
    job = planned_job(postgres_database)
    held = claimed(postgres_database)
    with postgres_database.write() as tx:
        tx.run(f"LOCK TABLE head_score_job_{job} IN SHARE UPDATE EXCLUSIVE MODE")  # a vacuum's
        assert commit.commit_shard(postgres_database, held, completed(held.lo, held.hi), "model")


def test_no_row_comes_twice_after_a_lease_was_lost(database: Database) -> None:
    job = planned_job(database)
    lost = claimed(database)
    assert lifecycle.take_back(database, lost, "too slow")
    while held := claims.claim(database, BOB, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
        assert not commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    assert not commit.commit_shard(database, lost, completed(lost.lo, lost.hi), "model")
    for name, places in (("head_score", SITES * HEADS), ("site_result", SITES), ("edge", 4)):
        keys = ", ".join(column.name for column in getattr(schema, name).primary_key)
        assert (
            rows(database, f"SELECT {keys} FROM {name} GROUP BY {keys} HAVING COUNT(*) > 1") == []
        )
        count = f"SELECT COUNT(*) FROM {name} WHERE job_id = {job}"
        assert rows(database, count) == [(6 * places,)]


def test_partitions_of_earlier_releases_are_read_and_written(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "_by_example", lambda table: False)
    old = planned_job(postgres_database)
    monkeypatch.undo()
    monkeypatch.setattr(partitions, "LARGE_JOB_ROWS", 1)
    new = planned_job(postgres_database)
    assert any("UNIQUE" in one for one in indexes(postgres_database, f"head_score_job_{old}"))
    while held := claims.claim(postgres_database, ALICE, 60):
        assert commit.commit_shard(postgres_database, held, completed(held.lo, held.hi), "model")
    scores = (
        "SELECT example, layer, head, score FROM head_scores WHERE job_id = {} ORDER BY 1, 2, 3"
    )
    assert rows(postgres_database, scores.format(old)) == rows(
        postgres_database, scores.format(new)
    )
    for job in (old, new):
        lifecycle.sweep_jobs(postgres_database)
        lifecycle.finish_jobs(postgres_database)
        lifecycle.set_control(postgres_database, job, "delete")
    assert (
        rows(postgres_database, "SELECT relname FROM pg_class WHERE relname LIKE '%job_%_by_ex%'")
        == []
    )


def test_texts_are_compressed_by_lz4(postgres_database: Database) -> None:
    """If the server was built with it; pglz takes four times as long."""
    [(has_lz4,)] = rows(postgres_database, partitions.HAS_LZ4)
    job = planned_job(postgres_database, examples=2, size=2)
    held = claimed(postgres_database)
    done = completed(0, 2)
    (part,) = done.parts
    long = tuple(replace(e, token_attribution="[" + "1e-5," * 2_000 + "0]") for e in part.examples)
    done = replace(done, parts=(replace(part, examples=long),))
    assert commit.commit_shard(postgres_database, held, done, "fingerprint")
    used = "SELECT pg_column_compression(token_attribution) FROM example_result"
    expected = "lz4" if has_lz4 else "pglz"
    assert rows(postgres_database, f"{used} WHERE job_id = {job}") == [(expected,)] * 2
