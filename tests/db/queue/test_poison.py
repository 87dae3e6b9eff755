"""Examples that raise or kill their workers are found, and cost only themselves."""

from __future__ import annotations

import json

from db.database import Database
from db.queue import claims, lifecycle
from db.queue.ask import Ask
from db.queue.recovery import MAX_ERRORS, MAX_LOSSES, MAX_SUSPECTS
from db.results import commit
from jobs.outcome import Errored, Stage
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import ALICE
from tests.helpers.queue import (
    LEASE,
    blocked_job,
    check_whole,
    claim,
    compute,
    expire_now,
    finish,
    shards,
)

AT_ONCE = Ask(seconds=1e-9)
"""For a single block."""


# Poison.
def fail(database: Database, bad: set[int], most: int = 200) -> int:
    """Run everything; a block with a bad example raises. Returns the number of attempts."""
    for attempts in range(most):
        execute(database, "UPDATE shard SET available_at = 0")
        held = claims.claim(database, ALICE, LEASE)
        if held is None:
            return attempts
        ends = [*range(held.lo - held.lo % held.block + held.block, held.hi, held.block), held.hi]
        good = held.lo
        for lo, end in zip([held.lo, *ends], ends, strict=False):
            if bad & set(range(lo, end)):
                break
            good = end
        raised = Errored(message="ValueError: a bad example", in_block=True)
        if good == held.hi:
            assert commit.commit_shard(database, held, compute(held), "model")
        elif good > held.lo:
            made = compute(held, good - held.lo)
            assert commit.commit_shard(database, held, made, "model", raised)
        else:
            claims.record_error(database, held, raised.message, in_block=True)
    raise AssertionError("it does not end")


def test_a_bad_example_is_found_and_the_rest_succeeds(database: Database) -> None:
    blocked_job(database, 40, 8, spec=json.dumps({"keep_text": False}))
    fail(database, {13, 30})
    finish(database)
    check_whole(database)
    assert rows(database, "SELECT state FROM job") == [("succeeded",)]
    errors = "SELECT example, error FROM examples WHERE error IS NOT NULL ORDER BY 1"
    assert rows(database, errors) == [
        (13, "ValueError: a bad example"),
        (30, "ValueError: a bad example"),
    ]
    assert rows(database, "SELECT COUNT(*) FROM examples") == [(40,)]
    assert rows(database, "SELECT SUM(examples_failed) FROM shard") == [(2,)]
    assert rows(database, "SELECT DISTINCT n FROM importance") == [(38,)]
    assert rows(database, "SELECT COUNT(*) FROM example WHERE text_a IS NOT NULL") == [(0,)]


def test_the_results_beside_a_bad_example_are_always_the_same(database: Database) -> None:
    for _ in range(2):
        blocked_job(database, 40, 8)
        fail(database, {13})
        finish(database)
    hashes = rows(database, "SELECT result_hash FROM job")
    assert hashes[0] == hashes[1]


def test_where_everything_raises_the_splits_are_few(database: Database) -> None:
    blocked_job(database, 3000, 2)
    fail(database, set(range(3000)), most=400)
    finish(database)
    ((shards_made,),) = rows(database, "SELECT COUNT(*) FROM shard")
    assert shards_made <= 3 * MAX_SUSPECTS
    ((state, error),) = rows(database, "SELECT state, error FROM job")
    assert state == "failed"
    assert "a bad example" in error
    check_whole(database)


def test_an_error_that_is_no_examples_fails_the_shard_whole(database: Database) -> None:
    blocked_job(database, 16, 4)
    for _ in range(MAX_ERRORS):
        execute(database, "UPDATE shard SET available_at = 0")
        claims.record_error(database, claim(database), "OSError: no space left on device")
    assert shards(database) == [(0, 0, 16, "failed")]


def test_an_example_that_kills_its_workers_is_found(database: Database) -> None:
    blocked_job(database, 32, 8)
    for _ in range(60):
        execute(database, "UPDATE shard SET available_at = 0")
        held = claims.claim(database, ALICE, LEASE)
        if held is None:
            break
        if held.lo <= 21 < held.hi:
            execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
            assert len(lifecycle.expire_leases(database)) == 1
        else:
            assert commit.commit_shard(database, held, compute(held), "model")
    finish(database)
    check_whole(database)
    assert rows(database, "SELECT state FROM job") == [("succeeded",)]
    ((example, error),) = rows(
        database, "SELECT example, error FROM examples WHERE error IS NOT NULL"
    )
    assert example == 21
    assert "the lease expired" in error
    ((losses,),) = rows(database, "SELECT COUNT(*) FROM attempt WHERE outcome = 'lost'")
    assert losses <= MAX_LOSSES + 5


# Models.
def lose_while(database: Database, stage: Stage) -> None:
    """Claim a shard, come to a stage, and be silent."""
    execute(database, "UPDATE shard SET available_at = 0")
    claims.enter(database, claim(database, AT_ONCE), stage)
    expire_now(database)


def test_workers_lost_while_they_load_the_model_fail_the_job(database: Database) -> None:
    blocked_job(database, 64, 4)
    lose_while(database, Stage.LOADING)
    assert rows(database, "SELECT DISTINCT state FROM shard") == [("ready",)]
    lose_while(database, Stage.LOADING)
    assert rows(database, "SELECT DISTINCT state FROM shard") == [("failed",)]
    finish(database)
    ((state, error),) = rows(database, "SELECT state, error FROM job")
    assert state == "failed"
    assert "2 workers were lost while they loaded the model: it may need more memory" in error
    assert rows(database, "SELECT COUNT(*) FROM attempt") == [(2,)]
    check_whole(database)


def test_a_worker_lost_elsewhere_does_not_count_as_lost_while_loading(database: Database) -> None:
    blocked_job(database, 4, 4)
    lose_while(database, Stage.COMPUTING)
    lose_while(database, Stage.LOADING)
    lose_while(database, Stage.COMPUTING)
    assert shards(database) == [(0, 0, 4, "ready")]
    lose_while(database, Stage.LOADING)
    assert shards(database) == [(0, 0, 4, "failed")]


def test_a_model_that_one_worker_has_loaded_is_not_given_up(database: Database) -> None:
    blocked_job(database, 16, 4)
    first = claim(database, AT_ONCE)
    assert commit.commit_shard(database, first, compute(first), "model")
    for _ in range(2):
        lose_while(database, Stage.LOADING)
    assert shards(database) == [(0, 0, 4, "done"), (4, 4, 8, "failed"), (8, 8, 16, "ready")]


def test_a_model_that_cannot_be_used_fails_the_job_at_once(database: Database) -> None:
    blocked_job(database, 64, 4)
    held = claim(database, AT_ONCE)
    claims.record_error(database, held, "it has no head", permanent=True, whole_job=True)
    assert rows(database, "SELECT DISTINCT state, error FROM shard") == [
        ("failed", "it has no head")
    ]
    finish(database)
    ((state, error),) = rows(database, "SELECT state, error FROM job")
    assert state == "failed"
    assert "it has no head" in error
    assert rows(database, "SELECT COUNT(*) FROM attempt") == [(1,)]
