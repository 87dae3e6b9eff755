"""The job a worker gets a shard of, and how much of it."""

from __future__ import annotations

import dataclasses

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.queue import claims
from db.queue.ask import Ask
from db.results import commit
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import ALICE, BOB, planned_job
from tests.helpers.queue import (
    LEASE,
    SHAPE,
    at_pace,
    blocked_job,
    claim,
    compute,
    shards,
)

# How much a worker takes.


def test_a_worker_takes_as_many_blocks_as_it_computes_in_its_time(database: Database) -> None:
    blocked_job(database, 1000, 8)
    first = claim(database, at_pace(0.05))
    assert (first.lo, first.hi) == (0, 8)  # however quick: a job shows its first results soon
    quick, slow = claim(database, at_pace(0.05)), claim(database, at_pace(1.0))
    assert (quick.lo, quick.hi, slow.lo, slow.hi) == (8, 208, 208, 216)
    assert shards(database) == [
        (0, 0, 8, "leased"),
        (8, 8, 208, "leased"),
        (208, 208, 216, "leased"),
        (216, 216, 1000, "ready"),
    ]
    paces = "SELECT pace FROM shard ORDER BY lo"
    assert rows(database, paces) == [(0.05,), (0.05,), (1.0,), (None,)]


def test_one_block_where_nothing_was_measured_and_then_what_others_measured(
    database: Database,
) -> None:
    blocked_job(database, 1000, 8)
    first = claim(database, Ask(seconds=10.0))
    assert (first.lo, first.hi) == (0, 8)
    assert commit.commit_shard(database, first, compute(first), "model")  # 0.5 s for 8
    ask = Ask(seconds=10.0)
    assert claim(database, ask).hi == 8 + 160
    assert ask.paces == {SHAPE: 0.0625}


def test_a_pace_counts_on_devices_of_its_kind_only(database: Database) -> None:
    blocked_job(database, 1000, 8)
    ten_seconds = Ask(seconds=10.0)

    def on(device: str) -> Ask:
        """Facts that a new worker on that device has with its first shard."""
        ask = dataclasses.replace(ten_seconds, paces={})
        who = dataclasses.replace(ALICE, device=device)
        held = claims.claim(database, who, LEASE, ask)
        assert held is not None
        assert commit.commit_shard(database, held, compute(held), "model")
        return ask

    assert on("cuda:0 NVIDIA H100").paces == {}
    assert on("cpu").paces == {}
    assert on("cuda:0 NVIDIA A100").paces == {}
    # Half a second for eight examples on each.
    assert on("cuda:1 NVIDIA H100").paces == {SHAPE: 0.0625}


def test_shards_become_smaller_towards_the_end(database: Database) -> None:
    blocked_job(database, 64, 2)
    for who in (ALICE, BOB):
        fleet.report_worker(database, who, ProcessState.IDLE)
    sizes = []
    while held := claims.claim(database, ALICE, LEASE, at_pace(0.001)):
        sizes.append(held.hi - held.lo)
        assert held.lo % 2 == 0
    assert sizes == [2, 14, 12, 8, 6, 4, 4, 2, 2, 2, 2, 2, 2, 2]


def test_a_job_without_blocks_keeps_its_shards(database: Database) -> None:
    """Those that an older version planned."""
    planned_job(database, examples=6, size=3)
    held = claim(database, at_pace(100.0))
    assert (held.lo, held.hi) == (0, 3)
    claims.record_error(database, held, "ValueError: x", in_block=True)
    assert shards(database) == [(0, 0, 3, "ready"), (1, 3, 6, "ready")]


# Who comes first.


def test_users_share_workers_evenly_whoever_came_first(database: Database) -> None:
    blocked_job(database, 80, 8, user_name="early")
    blocked_job(database, 80, 8, user_name="late")
    jobs = [claim(database, at_pace(1.25)).job_id for _ in range(6)]
    assert jobs == [1, 2, 1, 2, 1, 2]


def test_priority_comes_before_fair_shares(database: Database) -> None:
    blocked_job(database, 80, 8, user_name="early")
    blocked_job(database, 80, 8, user_name="late", priority=1)
    assert [claim(database, at_pace(1.25)).job_id for _ in range(3)] == [2, 2, 2]


def test_limits_of_users_and_queues(database: Database) -> None:
    blocked_job(database, 80, 8, user_name="early", priority=5)
    blocked_job(database, 80, 8, user_name="late")
    ask = at_pace(1.25, user_limit=2, queue_limit=3)
    first = claim(database, ask)
    assert [claim(database, ask).job_id for _ in range(2)] == [1, 2]
    assert claims.claim(database, BOB, LEASE, ask) is None
    claims.hand_back(database, first, "shutdown")
    assert claim(database, ask).job_id == 1


def test_a_loaded_model_is_preferred_until_another_shard_has_waited_long(
    database: Database,
) -> None:
    blocked_job(database, 80, 8, model="one")
    blocked_job(database, 80, 8, model="two")
    ask = at_pace(1.25, model="two", patience=60.0)
    assert claim(database, ask).job_id == 2
    assert claim(database, at_pace(1.25, model="three")).job_id == 1
    execute(database, "UPDATE shard SET available_at = available_at - 61 WHERE job_id = 1")
    assert claim(database, ask).job_id == 1
    # Its rest is ready since now, so that the worker stays with its model.
    assert claim(database, ask).job_id == 2


def test_another_users_turn_comes_before_a_loaded_model(database: Database) -> None:
    blocked_job(database, 80, 8, model="one", user_name="early")
    blocked_job(database, 80, 8, model="two", user_name="late")
    ask = at_pace(1.25, model="two")
    assert [claim(database, ask).job_id for _ in range(3)] == [2, 1, 2]
