"""Ends of attempts are counted once; counts outlive jobs and processes, and need no common row."""

from __future__ import annotations

import pytest

from db.database import Database
from db.ops import attempt_counts, deletion
from db.ops.attempt_counts import Total
from db.queue import claims, lifecycle
from db.results import commit
from jobs.outcome import Completed
from tests.helpers.jobs import ALICE, HEADS, SITES, completed, planned_job, result_of


def totals(database: Database) -> list[Total]:
    with database.read() as tx:
        return attempt_counts.totals(tx)


def claim(database: Database) -> claims.Claim:
    held = claims.claim(database, ALICE, 60)
    assert held is not None
    return held


def test_every_end_is_counted_once(database: Database) -> None:
    planned_job(database, examples=8, size=2)
    first = claim(database)
    failed = frozenset({first.lo})
    assert commit.commit_shard(database, first, completed(first.lo, first.hi, failed), "model")
    assert not commit.commit_shard(database, first, completed(first.lo, first.hi), "model")
    slow = claim(database)
    took = Completed(parts=(result_of(slow.lo, slow.hi),), seconds=70.0)
    assert commit.commit_shard(database, slow, took, "model")
    claims.hand_back(database, claim(database), "pause")
    again = claim(database)
    claims.record_error(database, again, "boom")
    claims.record_error(database, again, "boom")
    lost = claim(database)
    with database.write() as tx:
        tx.run("UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    lifecycle.expire_leases(database)
    claims.hand_back(database, lost, "too late")
    found = {(one.outcome, one.bucket): one for one in totals(database)}
    assert {key: one.attempts for key, one in found.items()} == {
        ("done", 0): 1,
        ("done", 5): 1,
        ("error", 0): 1,
        ("handed-back", 0): 1,
        ("lost", 0): 1,
    }
    quick = found["done", 0]
    assert (quick.queue, quick.kind, quick.seconds) == ("default", "attribution", 0.5)
    assert (quick.examples, quick.failed, quick.head_scores) == (2, 1, SITES * HEADS)
    assert (found["error", 0].again, found["handed-back", 0].again) == (1, 0)


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.5, 0), (1.0, 0), (1.1, 1), (60.0, 4), (1e6, 10)]
)
def test_buckets_include_their_upper_bound(database: Database, seconds: float, bucket: int) -> None:
    planned_job(database, examples=2)
    held = claim(database)
    took = Completed(parts=(result_of(held.lo, held.hi),), seconds=seconds)
    assert commit.commit_shard(database, held, took, "model")
    assert [one.bucket for one in totals(database)] == [bucket]


def test_counts_outlive_their_job_and_their_process(database: Database) -> None:
    job = planned_job(database, examples=4, size=2)
    for _ in range(2):
        held = claim(database)
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    before = totals(database)
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    lifecycle.set_control(database, job, "delete")
    deletion.empty_jobs(database, 60)
    assert totals(database) == before
    attempt_counts.fold(database)
    assert sources(database) != [""]
    for _ in range(2):
        attempt_counts.fold(database, age=-1)
        assert sources(database) == [""]
        assert totals(database) == before
    planned_job(database, examples=2)
    held = claim(database)
    assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    attempt_counts.fold(database, age=-1)
    assert sources(database) == [""]
    assert totals(database)[0].attempts == before[0].attempts + 1


def sources(database: Database) -> list[str]:
    with database.read() as tx:
        rows = tx.run("SELECT DISTINCT source FROM tally ORDER BY source")
        return [row[0] for row in rows]
