"""Shards that end earlier than planned: a job's results do not depend on how it was cut."""

from __future__ import annotations

import random

import pytest

from db.database import Database
from db.queue import claims, lifecycle
from db.queue.claims import LeaseStatus
from db.results import commit
from jobs.outcome import Errored, HandedBack
from jobs.states import Control
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import ALICE
from tests.helpers.queue import (
    LEASE,
    at_pace,
    blocked_job,
    check_whole,
    claim,
    compute,
    finish,
    shards,
)

# Ending earlier.


def test_a_deadline_keeps_the_blocks_that_running_shards_have(database: Database) -> None:
    job = blocked_job(database, 16, 4)
    held = claim(database)
    execute(database, "UPDATE job SET deadline_at = 1")
    lifecycle.sweep_jobs(database)
    wish = claims.renew(database, held, 8, LEASE)
    assert wish is Control.PAUSE
    ending = HandedBack(reason=str(wish))
    assert commit.commit_shard(database, held, compute(held, 8), "model", ending)
    assert claims.claim(database, ALICE, LEASE) is None
    finish(database)
    finish(database)
    assert shards(database) == [(0, 0, 8, "done"), (8, 8, 16, "cancelled")]
    ((state, error),) = rows(database, f"SELECT state, error FROM job WHERE id = {job}")
    assert state == "failed"
    assert "8 of 16 examples are missing" in error
    check_whole(database)


def test_what_a_stopped_worker_has_computed_is_kept(database: Database) -> None:
    blocked_job(database, 16, 4)
    held = claim(database)
    ending = HandedBack(reason="pause")
    assert commit.commit_shard(database, held, compute(held, 8), "model", ending)
    assert shards(database) == [(0, 0, 8, "done"), (8, 8, 16, "ready")]
    assert rows(database, "SELECT outcome, examples, error FROM attempt") == [
        ("done", 8, "handed back: pause")
    ]
    check_whole(database)


def test_a_block_that_raises_waits_by_itself(database: Database) -> None:
    blocked_job(database, 16, 4)
    held = claim(database)
    raised = Errored(message="ValueError: x", in_block=True)
    assert commit.commit_shard(database, held, compute(held, 4), "model", raised)
    state = "SELECT lo, hi, state, errors, error FROM shard ORDER BY lo"
    assert rows(database, state) == [
        (0, 4, "done", 0, None),
        (4, 8, "ready", 1, "ValueError: x"),
        (8, 16, "ready", 0, None),
    ]
    assert claim(database).lo == 8  # the one that raised waits


def test_a_shortened_lease_stores_only_what_is_inside(database: Database) -> None:
    blocked_job(database, 16, 4)
    held = claim(database)
    assert claims.poll(database, held) == LeaseStatus(control=Control.RUN, hi=16)
    assert claims.give_away(database, held, 8)
    assert claims.poll(database, held) == LeaseStatus(control=Control.RUN, hi=8)
    assert commit.commit_shard(database, held, compute(held), "model")
    assert rows(database, "SELECT COUNT(*) FROM example_result") == [(8,)]
    rest = claim(database)
    assert (rest.lo, rest.hi) == (8, 16)
    assert not claims.give_away(database, held, 4)
    assert commit.commit_shard(database, rest, compute(rest), "model")
    finish(database)
    check_whole(database)
    assert rows(database, "SELECT state FROM job") == [("succeeded",)]


def test_a_zombie_hears_that_its_lease_is_lost(database: Database) -> None:
    blocked_job(database, 16, 4)
    held = claim(database)
    execute(database, "UPDATE shard SET lease_until = 1")
    lifecycle.expire_leases(database)
    assert claims.poll(database, held) is None
    assert not claims.give_away(database, held, 8)


# The same results, however it was cut.
def scramble(database: Database, kind: str, seed: int) -> None:
    """Claim parts of any size, and end them in every way."""
    generator = random.Random(seed)
    while held := claims.claim(database, ALICE, LEASE, at_pace(generator.uniform(0.1, 3))):
        blocks = -(-(held.hi - held.lo) // held.block)
        done = min(held.hi - held.lo, generator.randint(1, blocks) * held.block)
        way = generator.choice(["whole", "stop", "raise", "loss", "shorten"])
        if way == "loss":
            execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
            lifecycle.expire_leases(database)
            execute(database, "UPDATE shard SET losses = 0")
        elif way == "shorten" and held.lo + done < held.hi:
            assert claims.give_away(database, held, held.lo + done)
            assert commit.commit_shard(database, held, compute(held, kind=kind), "model")
        else:
            ending = {
                "stop": HandedBack(reason="pause"),
                "raise": Errored(message="ValueError: by chance", in_block=True),
            }.get(way)
            count = done if ending else None
            made = compute(held, count, kind)
            assert commit.commit_shard(database, held, made, "model", ending)
        execute(database, "UPDATE shard SET available_at = 0")


@pytest.mark.parametrize("kind", ["attribution", "importance"])
def test_results_do_not_depend_on_how_a_job_was_cut(database: Database, kind: str) -> None:
    tables = {"attribution": "importance", "importance": "head_value"}
    found = []
    for seed in range(4):
        job = blocked_job(database, 70, 4, kind=kind)
        if seed:
            scramble(database, kind, seed)
        else:
            held = claim(database)
            assert commit.commit_shard(database, held, compute(held, kind=kind), "model")
        finish(database)
        own = f"WHERE job_id = {job}"
        ranked = rows(database, f"SELECT * FROM ranking {own} ORDER BY source, site, head")
        other = rows(database, f"SELECT * FROM {tables[kind]} {own} ORDER BY 2, 3, 4, 5")
        ((state, digest),) = rows(database, f"SELECT state, result_hash FROM job WHERE id = {job}")
        assert state == "succeeded"
        found.append((digest, [row[1:] for row in ranked], [row[1:] for row in other]))
    check_whole(database)
    assert all(one == found[0] for one in found)
