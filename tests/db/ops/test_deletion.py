"""Deleting: gone at once for everyone, emptied in short steps, resumed after a kill."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import Table, text

from db import schema
from db.database import Database
from db.ops import deletion
from db.queue import claims, lifecycle
from db.reads import job_list
from db.reads import jobs as job_reads
from db.results import commit, partitions
from db.schema.metadata import metadata
from db.views import VIEWS
from jobs.errors import ConflictError, NotFoundError
from jobs.outcome import Completed
from tests.helpers.jobs import ALICE, completed, importance_of, planned_job


def rows(database: Database, statement: str) -> list[Any]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


def finished_job(database: Database, **changes: Any) -> int:
    job = planned_job(database, **changes)
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    return job


def partition_names(database: Database) -> list[str]:
    if database.dialect == "sqlite":
        return []
    named = (
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE '%!_job!_%' ESCAPE '!'"
    )
    return sorted(row[0] for row in rows(database, named))


def left(database: Database, job: int) -> dict[str, int]:
    """Rows of a job that are left, by table."""
    found = {}
    for table in metadata.sorted_tables:
        if "job_id" in table.c and table is not schema.worker:
            count = f"SELECT COUNT(*) FROM {table.name} WHERE job_id = {job}"
            found[table.name] = rows(database, count)[0][0]
    return {name: count for name, count in found.items() if count}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job counts as large."""
    monkeypatch.setattr(partitions, "LARGE_JOB_ROWS", 1)


def test_a_large_job_has_partitions_and_they_go_with_it(database: Database, large: None) -> None:
    kept, job = finished_job(database), finished_job(database)
    names = [f"{name}_job_{n}" for name in ("edge", "example_result", "head_score", "site_result")
             for n in (kept, job)]  # fmt: skip
    assert partition_names(database) == (names if database.dialect == "postgresql" else [])
    if names := partition_names(database):
        assert rows(database, f"SELECT COUNT(*) FROM head_score_job_{job}") == [(36,)]
        assert rows(database, "SELECT COUNT(*) FROM head_score_shared") == [(0,)]
    assert rows(
        database, "SELECT job_id, COUNT(*) FROM head_scores GROUP BY job_id ORDER BY 1"
    ) == [
        (kept, 36),
        (job, 36),
    ]
    lifecycle.set_control(database, job, "delete")
    assert partition_names(database) == [name for name in names if name.endswith(f"_{kept}")]
    assert left(database, job) == {}
    assert left(database, kept)["head_score"] == 36


def test_a_small_job_has_no_partitions(database: Database) -> None:
    finished_job(database)
    assert partition_names(database) == []


def test_the_partitions_of_an_importance_job(database: Database, large: None) -> None:
    planned_job(database, kind="importance")
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    done = Completed(parts=(importance_of(held.lo, held.hi),), seconds=1.0)
    assert commit.commit_shard(database, held, done, "model")
    if database.dialect == "postgresql":
        assert [name.rsplit("_job_")[0] for name in partition_names(database)] == [
            "example_result",
            "head_value",
        ]
        assert rows(database, "SELECT COUNT(*) FROM head_value_shared") == [(0,)]
    assert rows(database, "SELECT COUNT(*) FROM head_values") == [(24,)]


def test_a_deleted_job_is_gone_before_its_rows_are(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished_job(database, idempotency_key="once", dedupe_key="same")
    with database.write() as tx:
        assert deletion.mark(tx, job)
        assert not deletion.mark(tx, job)
    assert left(database, job)["head_score"] == 36
    with pytest.raises(NotFoundError):
        job_reads.get_job(database, job)
    assert job_list.list_jobs(database) == []
    for view in VIEWS:
        if view.name != "workers":
            assert rows(database, f"SELECT COUNT(*) FROM {view.name}") == [(0,)], view.name
    for action in ("cancel", "pause", "delete"):
        with pytest.raises(NotFoundError):
            lifecycle.set_control(database, job, action)
    again = planned_job(database, idempotency_key="once", dedupe_key="same")
    assert again != job
    assert deletion.empty_jobs(database, seconds=60) == [job]
    assert left(database, job) == {}
    assert rows(database, "SELECT job_id FROM jobs") == [(again,)]


def test_a_job_that_is_not_final_is_not_marked(database: Database) -> None:
    job = planned_job(database)
    with database.write() as tx:
        assert not deletion.mark(tx, job)
    with pytest.raises(ConflictError):
        lifecycle.set_control(database, job, "delete")


def test_rows_go_in_many_transactions_and_a_killed_one_is_resumed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = finished_job(database), finished_job(database)
    monkeypatch.setattr(deletion, "FIRST_BATCH", 5)
    monkeypatch.setattr(deletion, "LARGEST_BATCH", 5)
    real, batches = deletion._delete_batch, []

    def killed(connection: Any, named: tuple[Table, ...], job_id: int, size: int) -> bool:
        assert size <= 5
        batches.append(size)
        if len(batches) == 4:
            raise KeyboardInterrupt
        return real(connection, named, job_id, size)

    monkeypatch.setattr(deletion, "_delete_batch", killed)
    with database.write() as tx:
        deletion.mark(tx, job)
    with pytest.raises(KeyboardInterrupt):
        deletion.empty_jobs(database, seconds=60)
    assert 36 - 3 * 5 <= left(database, job)["head_score"] < 36
    assert lifecycle.pending_work(database).empty
    assert deletion.empty_jobs(database, seconds=60) == [job]
    assert len(batches) > 36 / 5
    assert left(database, job) == {}
    assert left(database, other)["head_score"] == 36
    assert not lifecycle.pending_work(database).empty


def test_emptying_stops_when_its_time_is_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "FIRST_BATCH", 5)
    monkeypatch.setattr(deletion, "LARGEST_BATCH", 5)
    job = finished_job(database)
    with database.write() as tx:
        deletion.mark(tx, job)
    marked = left(database, job)
    assert deletion.empty_jobs(database, seconds=-1) == []
    assert 0 < sum(left(database, job).values()) == sum(marked.values()) - 5


def test_two_that_empty_at_once(database: Database, large: None) -> None:
    job = finished_job(database)
    with database.write() as tx:
        deletion.mark(tx, job)
    assert deletion.empty_jobs(database) == [job]
    assert deletion.remove_rows(database, job, partitions.partitioned(), time.monotonic() + 5)


def test_a_reader_delays_the_drop_but_not_the_space(postgres_url: str, large: None) -> None:
    database = Database(postgres_url)
    try:
        other, job = finished_job(database), finished_job(database)
        with database.read() as reader:
            reader.execute(text(f"SELECT COUNT(*) FROM head_scores WHERE job_id = {other}"))
            lifecycle.set_control(database, job, "delete")
            assert f"head_score_job_{job}" in partition_names(database)
            assert rows(database, f"SELECT COUNT(*) FROM head_score_job_{job}") == [(0,)]
            with pytest.raises(NotFoundError):
                job_reads.get_job(database, job)
        assert deletion.empty_jobs(database) == [job]
        assert all(name.endswith(f"_{other}") for name in partition_names(database))
    finally:
        database.close()


def test_sqlite_gives_space_back(tmp_path: Any) -> None:
    path = tmp_path / "headwise.sqlite"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    kept = finished_job(database)
    with database.write() as tx:
        size = tx.run("PRAGMA page_count").scalar()
    job = finished_job(database, examples=400, size=50)
    with database.write() as tx:
        grown = tx.run("PRAGMA page_count").scalar()
    lifecycle.set_control(database, job, "delete")
    while deletion.empty_jobs(database, seconds=60):
        pass
    assert not deletion.give_back(database, time.monotonic() + 60)
    with database.write() as tx:
        shrunk = tx.run("PRAGMA page_count").scalar()
        free = tx.run("PRAGMA freelist_count").scalar()
        assert tx.run("PRAGMA integrity_check").scalar() == "ok"
    assert grown > 1.5 * size
    assert shrunk < 1.2 * size
    # A tenth of the file stays free for new results; it was a tenth before the last pages went.
    assert shrunk // 10 <= free < 0.2 * shrunk
    assert left(database, kept)["head_score"] == 36
    database.close()
