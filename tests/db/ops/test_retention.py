"""Retention: what is due goes, whole or in its details, and what others need stays."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from db.database import Database
from db.ops import deletion, retention
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.new_jobs import NewJob
from db.queue.planning import Plan
from db.reads import jobs as job_reads
from db.reads import studies
from db.results import commit, partitions
from jobs.errors import ConflictError, NotFoundError
from jobs.settings import Retention
from tests.helpers.jobs import ALICE, completed, job_values, planned_job

NEVER = Retention(keep_days=0, keep_details_days=0)
DAY = 86_400


def rows(database: Database, statement: str) -> list[Any]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def finish_all(database: Database) -> None:
    while held := claims.claim(database, ALICE, 60):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)


def old_job(database: Database, days: float = 10, **changes: Any) -> int:
    """A job that ended so many days ago."""
    job = planned_job(database, **changes)
    finish_all(database)
    execute(database, f"UPDATE job SET finished_at = finished_at - {days * DAY} WHERE id = {job}")
    return job


def settle(database: Database, kept: Retention) -> list[int]:
    """Do all that is due; the jobs that are left."""
    while retention.retain(database, kept, seconds=60):
        pass
    while deletion.is_pending(database):
        deletion.empty_jobs(database, seconds=60)
    return [row[0] for row in rows(database, "SELECT job_id FROM jobs ORDER BY job_id")]


def test_sums_that_the_end_of_a_job_left_are_removed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(deletion, "end_run", lambda *_: None)
        planned_job(database)
        finish_all(database)
    planned_job(database)
    sums = "SELECT DISTINCT job_id FROM ranking_sum"
    assert rows(database, sums) == [(1,)]
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    settle(database, NEVER)
    assert rows(database, sums) == [(2,)]
    assert rows(database, "SELECT DISTINCT job_id FROM shard_top") == [(2,)]


def test_days_of_the_job_come_before_those_of_the_settings(database: Database) -> None:
    plain, short = old_job(database), old_job(database, keep_days=2.0)
    forever, young = old_job(database, keep_days=0.0), old_job(database, days=1)
    unfinished = planned_job(database, keep_days=0.001)
    assert settle(database, NEVER) == [plain, forever, young, unfinished]
    assert short not in settle(database, Retention(keep_days=11, keep_details_days=0))
    assert settle(database, Retention(keep_days=5, keep_details_days=0)) == [
        forever,
        young,
        unfinished,
    ]


@pytest.mark.parametrize("large", [1, 10**9])
def test_details_go_and_what_they_add_up_to_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(partitions, "LARGE_JOB_ROWS", large)
    job, young = old_job(database), old_job(database, days=1)
    kept = ("head_importance", "importances", "shards", "attempts")
    before = [rows(database, f"SELECT * FROM {v} ORDER BY 1, 2, 3, 4, 5") for v in kept]
    due = retention.find_due(database, Retention(keep_days=0, keep_details_days=5))
    assert [(one.job_id, one.whole, one.rows) for one in due] == [(job, False, 36 + 12 + 24 + 6)]
    assert due[0].size > 1_000
    assert rows(database, f"SELECT COUNT(*) FROM examples WHERE job_id = {job}") == [(6,)]
    assert settle(database, Retention(keep_days=0, keep_details_days=5)) == [job, young]
    assert [rows(database, f"SELECT * FROM {v} ORDER BY 1, 2, 3, 4, 5") for v in kept] == before
    for view in ("head_scores", "token_edges", "completeness", "examples"):
        assert rows(database, f"SELECT DISTINCT job_id FROM {view}") == [(young,)], view
    stored = f"SELECT text_a, text_b, text_hash FROM example WHERE job_id = {job} ORDER BY 3"
    assert rows(database, stored) == [(None, None, f"hash {n}") for n in range(6)]
    assert job_reads.get_job(database, job).purged_at is not None
    assert retention.find_due(database, Retention(keep_days=0, keep_details_days=5)) == []


def test_purging_goes_on_where_it_was_left(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = old_job(database)
    monkeypatch.setattr(deletion, "FIRST_BATCH", 5)
    monkeypatch.setattr(deletion, "LARGEST_BATCH", 5)
    assert retention.retain(database, Retention(keep_days=0, keep_details_days=5), seconds=-1)
    counts = " + ".join(
        f"(SELECT COUNT(*) FROM {name} WHERE job_id = {job})"
        for name in ("head_score", "site_result", "edge", "example_result")
    )
    assert rows(database, f"SELECT {counts}") == [(36 + 12 + 24 + 6 - 5,)]
    assert rows(database, "SELECT COUNT(*) FROM examples") == [(0,)]
    assert retention.remove_details(database, seconds=60)
    assert rows(database, "SELECT COUNT(*) FROM head_score") == [(0,)]
    assert rows(database, "SELECT COUNT(*) FROM example WHERE text_a IS NOT NULL") == [(0,)]


def test_a_parent_stays_as_long_as_its_child(database: Database) -> None:
    parent = old_job(database)
    rest = [(0, "a", None, "h", None)]
    child = new_jobs.create_job(database, job_values(examples=1), rest, [parent])
    assert settle(database, Retention(keep_days=5, keep_details_days=5)) == [parent, child]
    assert job_reads.get_job(database, parent).purged_at is None
    with pytest.raises(ConflictError, match="needed by one"):
        retention.purge(database, parent)
    planning.take_plans(database)
    assert planning.write_plan(database, child, Plan(bounds=[(0, 1)]))
    finish_all(database)
    assert settle(database, Retention(keep_days=5, keep_details_days=5)) == [parent, child]
    assert job_reads.get_job(database, parent).purged_at is not None
    execute(database, "UPDATE job SET finished_at = 1")
    assert settle(database, Retention(keep_days=5, keep_details_days=5)) == []


def test_a_study_goes_as_a_whole(database: Database) -> None:
    def write(_step: str, _jobs: Any) -> NewJob:
        return NewJob(values=job_values(examples=1), examples=[(0, "a", None, "h", None)])

    studies.write_study(database, "paper", "ada", ("first", "second"), write)
    execute(database, "UPDATE job SET state = 'succeeded', finished_at = 1 WHERE id = 1")
    assert settle(database, Retention(keep_days=5, keep_details_days=5)) == [1, 2]
    assert rows(database, "SELECT purged_at FROM jobs") == [(None,), (None,)]
    execute(database, "UPDATE job SET state = 'succeeded', finished_at = 2 WHERE id = 2")
    assert settle(database, Retention(keep_days=5, keep_details_days=5)) == []
    assert rows(database, "SELECT COUNT(*) FROM study") == [(0,)]


def test_purging_by_hand(database: Database) -> None:
    job, running = old_job(database), planned_job(database)
    with pytest.raises(NotFoundError):
        retention.purge(database, 99)
    with pytest.raises(ConflictError):
        retention.purge(database, running)
    retention.purge(database, job)
    with pytest.raises(ConflictError, match="purged already"):
        retention.purge(database, job)


def test_results_without_details_are_computed_again(database: Database) -> None:
    values = job_values(data_fingerprint="fingerprint")
    job = old_job(database, days=0)
    with database.read() as tx:
        since = time.time() - 100 * DAY
        assert new_jobs.find_results(tx, values, since) == job
    retention.purge(database, job)
    with database.read() as tx:
        assert new_jobs.find_results(tx, values, since) is None


@pytest.mark.parametrize(
    ("state", "keep_text", "left"),
    [
        ("cancelled", False, []),
        ("failed", False, []),
        ("running", False, [2, 3, 4, 5]),
        ("cancelled", True, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_job_that_ends_early_and_keeps_no_text_has_none(
    database: Database, state: str, keep_text: bool, left: list[int]
) -> None:
    spec = json.dumps({"keep_text": keep_text}, separators=(",", ":"))
    job = planned_job(database, spec=spec)
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    with database.write() as tx:
        changed = "UPDATE job SET state = :state, finished_at = {clock} WHERE id = :job"
        tx.run(changed, state=state, job=job)
    settle(database, NEVER)
    stored = "SELECT example_no FROM example WHERE text_a IS NOT NULL OR text_b IS NOT NULL"
    assert [row[0] for row in rows(database, f"{stored} ORDER BY 1")] == left
