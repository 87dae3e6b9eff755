"""The size of a job is estimated without counting its rows, and close to the count."""

from __future__ import annotations

import pytest

from db.database import Database
from db.ops import job_sizes, retention
from db.queue import lifecycle
from db.results import commit, partitions
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import planned_job
from tests.helpers.queue import blocked_job, claim, compute, finish_all


def measured(database: Database) -> list[job_sizes.JobSize]:
    while job_sizes.measure(database, 60):
        pass
    return job_sizes.list_sizes(database)


def test_details_are_about_what_a_purge_says_it_frees(database: Database) -> None:
    job = planned_job(database, examples=60, size=10)
    finish_all(database)
    (found,) = measured(database)
    assert (found.id, found.final) == (job, True)
    exact = retention.find_details(database, job).size
    assert found.details == pytest.approx(exact, rel=0.15)
    assert found.bytes is not None
    assert found.bytes > found.details


def test_sums_of_blocks_and_values_of_several_sources_are_multiplied(database: Database) -> None:
    job = blocked_job(database, 40, 5, kind="importance")
    held = claim(database)
    assert commit.commit_shard(database, held, compute(held, kind="importance"), "model")
    execute(database, "UPDATE job SET state = 'running'")
    (found,) = measured(database)
    exact = retention.find_details(database, job).size
    assert found.details == pytest.approx(exact, rel=0.15)
    finish_all(database)
    execute(database, "UPDATE job_size SET measured_at = 1")
    (after,) = measured(database)
    assert after.bytes is not None
    assert found.bytes is not None
    assert after.bytes < found.bytes  # the bootstrap's sums are gone


def test_a_large_job_has_the_size_of_its_partitions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.dialect != "postgresql":
        pytest.skip("SQLite has no partitions")
    monkeypatch.setattr(partitions, "LARGE_JOB_ROWS", 1)
    job = planned_job(database)
    finish_all(database)
    with database.read() as tx:
        own = sum(partitions.size(tx, table, job) for table in partitions.owned(tx, job))
    (found,) = measured(database)
    assert found.details is not None
    assert found.details >= own > 8192


def test_only_what_has_changed_is_measured_again(database: Database) -> None:
    job = planned_job(database)
    finish_all(database)
    (before,) = measured(database)
    execute(database, "UPDATE job_size SET bytes = 1")
    assert [size.bytes for size in measured(database)] == [1]
    retention.purge(database, job)
    assert [size.bytes for size in measured(database)] == [1]  # its rows are still there
    assert retention.remove_details(database, seconds=60)
    execute(database, "UPDATE job SET purged_at = purged_at + 1")
    (after,) = measured(database)
    assert after.details == 0
    assert before.bytes is not None
    assert 0 < (after.bytes or 0) < before.bytes


def test_unfinished_jobs_are_measured_from_time_to_time(database: Database) -> None:
    planned_job(database)
    measured(database)
    execute(database, "UPDATE job_size SET bytes = 1")
    assert [size.bytes for size in measured(database)] == [1]
    execute(database, "UPDATE job_size SET measured_at = measured_at - 301")
    assert [size.bytes for size in measured(database)] != [1]


def test_sizes_go_with_their_jobs(database: Database) -> None:
    job = planned_job(database)
    finish_all(database)
    measured(database)
    lifecycle.set_control(database, job, "delete")
    assert measured(database) == []
    assert rows(database, "SELECT * FROM job_size") == []


def test_orders_of_the_list_and_the_whole(database: Database) -> None:
    first, second = planned_job(database, user_name="b"), planned_job(database, user_name="a")
    finish_all(database)
    measured(database)
    execute(database, f"UPDATE job_size SET bytes = 10, details = 9 WHERE job_id = {first}")
    execute(database, f"UPDATE job_size SET bytes = 20, details = 5 WHERE job_id = {second}")
    orders = {name: [one.id for one in job_sizes.list_sizes(database, name)] for name in
              ("size", "details", "user", "age")}  # fmt: skip
    assert orders["size"] == orders["user"] == [second, first]
    assert orders["details"] == orders["age"] == [first, second]
    assert [one.id for one in job_sizes.list_sizes(database, limit=1, offset=1)] == [first]
    whole = job_sizes.read_whole(database)
    assert (whole.jobs, whole.bytes, whole.details) == (2, 30, 14)
    assert whole.database > 100_000
