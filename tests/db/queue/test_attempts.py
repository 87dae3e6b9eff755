"""Ends of attempts: commits, errors, lost leases, and zombies that change nothing."""

from __future__ import annotations

import dataclasses

import pytest

from db.database import Database
from db.queue import claims, lifecycle
from db.queue.recovery import MAX_ERRORS, MAX_LOSSES
from db.results import commit
from jobs.states import Control
from tests.helpers.databases import execute, one, rows
from tests.helpers.jobs import (
    ALICE,
    BOB,
    HEADS,
    SITES,
    completed,
    planned_job,
    result_of,
)
from tests.helpers.queue import (
    LEASE,
    claim,
    expire_now,
    finish_all,
)


def test_a_zombie_cannot_commit(database: Database) -> None:
    planned_job(database, examples=2)
    zombie = claim(database)
    assert [held.fence for held in expire_now(database)] == [1]
    again = claim(database, who=BOB)
    assert again.fence == 2
    assert not commit.commit_shard(database, zombie, completed(0, 2), "model")
    assert one(database, "SELECT COUNT(*) FROM head_scores") == 0
    assert claims.renew(database, zombie, 1, LEASE) is None
    assert commit.commit_shard(database, again, completed(0, 2), "model")
    assert not commit.commit_shard(database, again, completed(0, 2), "model")
    assert one(database, "SELECT COUNT(*) FROM head_scores") == 2 * SITES * HEADS
    assert one(database, "SELECT fence FROM example_result LIMIT 1") == 2
    lost = "SELECT fence, outcome FROM attempts ORDER BY fence"
    assert rows(database, lost) == [(1, "lost"), (2, "done")]


def test_a_zombies_error_and_hand_back_change_nothing(database: Database) -> None:
    planned_job(database, examples=2)
    zombie = claim(database)
    expire_now(database)
    held = claim(database, who=BOB)
    claims.record_error(database, zombie, "late", permanent=True)
    claims.hand_back(database, zombie, "late")
    assert claims.renew(database, zombie, 2, 900) is None
    state = "SELECT state, fence, errors, worker, progress FROM shards"
    assert rows(database, state) == [("leased", held.fence, 0, "bob", 0)]


def test_a_failing_commit_leaves_nothing(database: Database) -> None:
    planned_job(database, examples=2)
    held = claim(database)
    good = completed(0, 2)
    # An edge that names a token which is not there breaks the transaction half way.
    broken = dataclasses.replace(good.parts[0], edge_query=result_of(0, 2).edge_query + 99)
    with pytest.raises(IndexError):
        commit.commit_shard(database, held, dataclasses.replace(good, parts=(broken,)), "model")
    for table in ("head_score", "example_result", "site_result", "edge", "shard_sum"):
        assert one(database, f"SELECT COUNT(*) FROM {table}") == 0
    assert commit.commit_shard(database, held, good, "model")


def test_heartbeat_renews_the_lease_and_tells_the_wish(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claim(database)
    before = one(database, "SELECT lease_until FROM shard")
    assert claims.renew(database, held, 1, LEASE + 60) is Control.RUN
    assert one(database, "SELECT lease_until FROM shard") > before + 30
    assert one(database, "SELECT progress FROM shards") == 1
    lifecycle.set_control(database, job, "pause")
    assert claims.renew(database, held, 1, LEASE) is Control.PAUSE
    lifecycle.set_control(database, job, "cancel")
    assert claims.renew(database, held, 1, LEASE) is Control.CANCEL


def test_errors_wait_and_then_fail_the_shard_but_not_the_rest(database: Database) -> None:
    planned_job(database, examples=4)
    for _ in range(MAX_ERRORS):
        execute(database, "UPDATE shard SET available_at = 0")
        held = claim(database)
        assert held.shard_no == 0
        claims.record_error(database, held, "boom")
    assert rows(database, "SELECT state, errors, error FROM shards WHERE shard = 0") == [
        ("failed", MAX_ERRORS, "boom")
    ]
    finish_all(database)
    state, error = rows(database, "SELECT state, error FROM jobs")[0]
    assert state == "failed"
    assert "1 of 2 shards failed" in error
    assert "boom" in error
    assert one(database, "SELECT MAX(n) FROM head_importance") == 2


def test_an_error_backs_off(database: Database) -> None:
    planned_job(database, examples=2)
    claims.record_error(database, claim(database), "boom")
    assert claims.claim(database, ALICE, LEASE) is None
    assert 0 < one(database, "SELECT available_at - {clock} FROM shard") <= 2.5


def test_a_permanent_error_fails_at_once(database: Database) -> None:
    planned_job(database, examples=2)
    claims.record_error(database, claim(database), "no use", permanent=True)
    assert one(database, "SELECT state FROM shards") == "failed"


def test_lost_leases_fail_the_shard_at_their_limit(database: Database) -> None:
    planned_job(database, examples=2)
    for number in range(MAX_LOSSES):
        assert claim(database).fence == number + 1
        expire_now(database)
    assert rows(database, "SELECT state, losses FROM shards") == [("failed", MAX_LOSSES)]


def test_a_live_lease_does_not_expire(database: Database) -> None:
    planned_job(database, examples=2)
    claim(database)
    assert lifecycle.expire_leases(database) == []


def test_hand_back_counts_as_nothing(database: Database) -> None:
    planned_job(database, examples=2)
    claims.hand_back(database, claim(database), "shutdown")
    assert rows(database, "SELECT state, errors, losses FROM shards") == [("ready", 0, 0)]
    assert claim(database).fence == 2
    assert one(database, "SELECT outcome FROM attempts WHERE fence = 1") == "handed-back"


def test_a_model_that_changes_under_the_job_is_refused(database: Database) -> None:
    planned_job(database, examples=4)
    first, second = claim(database), claim(database)
    assert commit.commit_shard(database, first, completed(0, 2), "model")
    with pytest.raises(commit.ChangedModelError, match="changed while the job ran"):
        commit.commit_shard(database, second, completed(2, 4), "another model")
    assert one(database, "SELECT COUNT(*) FROM examples") == 2


def test_fences_equal_attempts(database: Database) -> None:
    planned_job(database)
    claims.hand_back(database, claim(database), "pause")
    claim(database)
    expire_now(database)
    finish_all(database)
    fences = one(database, "SELECT SUM(fence) FROM shards")
    assert fences == one(database, "SELECT COUNT(*) FROM attempts") == 5
