"""Leases are shortened for idle workers and for jobs of higher priority."""

from __future__ import annotations

import pytest

from db.database import Database
from db.queue import claims
from db.queue.ask import Ask
from db.queue.claims import LeaseStatus
from db.queue.rebalance import balance
from db.results import commit
from jobs.states import Control
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import BOB
from tests.helpers.queue import (
    LEASE,
    at_pace,
    blocked_job,
    check_whole,
    claim,
    compute,
    finish,
)

# Giving away.


def test_an_idle_worker_gets_half_of_a_tail(database: Database) -> None:
    blocked_job(database, 80, 8)
    first = claim(database, at_pace(0.1))  # one block, then about half of the others
    held = claim(database, at_pace(0.1))
    assert commit.commit_shard(database, first, compute(first), "model")
    while (more := claims.claim(database, BOB, LEASE)) is not None:
        assert commit.commit_shard(database, more, compute(more), "model")
    execute(database, "UPDATE shard SET pace = 1.0")
    assert balance(database, {"default": 0}) == []
    (given,) = balance(database, {"default": 1})
    assert given.key == held.key
    ((lo, hi),) = rows(database, "SELECT lo, hi FROM shard WHERE state = 'ready'")
    assert held.lo < lo < hi == held.hi
    assert balance(database, {"default": 1}) == []  # there is something to claim
    assert commit.commit_shard(database, held, compute(held), "model")
    last = claim(database)
    assert commit.commit_shard(database, last, compute(last), "model")
    finish(database)
    check_whole(database)
    assert rows(database, "SELECT state FROM job") == [("succeeded",)]


def test_a_shard_makes_room_for_a_job_of_higher_priority(database: Database) -> None:
    blocked_job(database, 80, 8)
    first, held = claim(database, at_pace(0.1)), claim(database, at_pace(0.1))
    assert commit.commit_shard(database, first, compute(first), "model")
    blocked_job(database, 8, 8, priority=0)
    assert balance(database, {}) == []
    urgent = blocked_job(database, 8, 8, priority=1)
    assert [one.key for one in balance(database, {})] == [held.key]
    assert claims.poll(database, held) == LeaseStatus(control=Control.RUN, hi=16)
    assert balance(database, {}) == []
    assert commit.commit_shard(database, held, compute(held), "model")
    assert claim(database).job_id == urgent


def test_a_lease_of_an_older_worker_is_left_alone(database: Database) -> None:
    """It would not hear that it ends earlier, and store what is another's."""
    blocked_job(database, 80, 8)
    claim(database)
    execute(database, "UPDATE shard SET pace = NULL")
    assert balance(database, {"default": 1}) == []


@pytest.mark.parametrize("progress", [0, 8])
def test_the_last_block_of_a_far_too_slow_worker_is_taken_over(
    database: Database, progress: int
) -> None:
    blocked_job(database, 24, 8)
    quick = claim(database, Ask(seconds=1.0))
    assert commit.commit_shard(database, quick, compute(quick), "model")
    held = claim(database)
    execute(database, f"UPDATE shard SET pace = 1.0, progress = {progress} WHERE lo = 8")
    if not progress:
        assert claims.give_away(database, held, 16)
        more = claim(database)
        assert commit.commit_shard(database, more, compute(more), "model")
    execute(database, "UPDATE attempt SET started_at = started_at - 1000")
    (ended,) = balance(database, {"default": 1})
    assert ended.key == held.key
    stored = commit.commit_shard(database, held, compute(held, 8), "model")
    assert stored is bool(progress)
    again = claim(database)
    assert again.lo == 8 + progress
    assert commit.commit_shard(database, again, compute(again), "model")
    finish(database)
    check_whole(database)
    assert rows(database, "SELECT state FROM job") == [("succeeded",)]
