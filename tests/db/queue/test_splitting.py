"""Shards are cut when they are claimed, end earlier than planned, and are split: the job's results
do not depend on it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from typing import Any

import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.claims import Ask, Claim, LeaseStatus
from db.queue.planning import Plan
from db.queue.rebalance import balance
from db.queue.recovery import MAX_ERRORS, MAX_LOSSES, MAX_SUSPECTS
from db.results import commit
from jobs.outcome import Completed, Errored, HandedBack
from jobs.states import Control
from tests.helpers.jobs import ALICE, BOB, importance_of, job_values, planned_job, result_of

LEASE = 60.0
SHAPE = ("attribution", 2, 3)


def rows(database: Database, statement: str) -> list[Any]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def blocked_job(database: Database, examples: int, block: int, **changes: Any) -> int:
    """A running job of one ready range, in blocks."""
    values = job_values(examples=examples, **changes)
    texts = [(n, f"text {n}", f"second {n}", f"hash {n}", n % 2) for n in range(examples)]
    job = new_jobs.create_job(database, values, texts)
    planning.take_plans(database)
    bounds = [(0, examples)]
    assert planning.write_plan(
        database, job, Plan(bounds=bounds, fingerprint="fingerprint", block=block)
    )
    return job


def at_pace(pace: float, **changes: Any) -> Ask:
    """Ten seconds of work for a worker that takes so many per example."""
    return Ask(seconds=10.0, paces={SHAPE: pace}, **changes)


def claim(database: Database, ask: Ask = claims.ANYTHING) -> Claim:
    held = claims.claim(database, ALICE, LEASE, ask)
    assert held is not None
    return held


def compute(held: Claim, count: int | None = None, kind: str = "attribution") -> Completed:
    """The first `count` examples of a lease, block by block."""
    made = importance_of if kind == "importance" else result_of
    hi = held.hi if count is None else held.lo + count
    cuts = [*list(range(held.lo, hi, held.block or hi - held.lo)), hi]
    parts = tuple(made(lo, end) for lo, end in itertools.pairwise(cuts))
    return Completed(parts=parts, seconds=0.5)


def shards(database: Database) -> list[Any]:
    return rows(database, "SELECT shard_no, lo, hi, state FROM shard ORDER BY lo")


def finish(database: Database) -> None:
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)


def check_whole(database: Database) -> None:
    """Shards cover the job once, fences are attempts, every example has one result."""
    for job, examples in rows(database, "SELECT id, examples FROM job"):
        own = rows(database, f"SELECT lo, hi FROM shard WHERE job_id = {job} ORDER BY lo")
        assert own[0][0] == 0
        assert own[-1][1] == examples
        assert all(one[1] == other[0] for one, other in itertools.pairwise(own))
    ((fences,),) = rows(database, "SELECT SUM(fence) FROM shard")
    assert rows(database, "SELECT COUNT(*) FROM attempt") == [(fences,)]
    wrong = """SELECT COUNT(*) FROM example_result r LEFT JOIN shard s ON s.job_id = r.job_id
        AND r.example_no >= s.lo AND r.example_no < s.hi AND s.state = 'done' AND s.fence = r.fence
        WHERE s.job_id IS NULL"""
    assert rows(database, wrong) == [(0,)]


# How much a worker takes.


def test_a_worker_takes_as_many_blocks_as_it_computes_in_its_time(database: Database) -> None:
    blocked_job(database, 1000, 8)
    quick, slow = claim(database, at_pace(0.05)), claim(database, at_pace(1.0))
    assert (quick.lo, quick.hi, slow.lo, slow.hi) == (0, 200, 200, 208)
    assert shards(database) == [
        (0, 0, 200, "leased"),
        (200, 200, 208, "leased"),
        (208, 208, 1000, "ready"),
    ]
    assert rows(database, "SELECT pace FROM shard ORDER BY lo") == [(0.05,), (1.0,), (None,)]


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
        """What a new worker on that device knows when it has claimed its first shard."""
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
    assert sizes == [16, 12, 8, 6, 4, 4, 2, 2, 2, 2, 2, 2, 2]


def test_a_job_without_blocks_keeps_its_shards(database: Database) -> None:
    """Those that an older version planned."""
    planned_job(database, examples=6, size=3)
    held = claim(database, at_pace(100.0))
    assert (held.lo, held.hi) == (0, 3)
    claims.record_error(database, held, "ValueError: x", in_block=True)
    assert shards(database) == [(0, 0, 3, "ready"), (1, 3, 6, "ready")]


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


# Giving away.


def test_an_idle_worker_gets_half_of_a_tail(database: Database) -> None:
    blocked_job(database, 80, 8)
    held = claim(database, at_pace(0.1))  # eight blocks, and two are left
    rest = claim(database, at_pace(0.1))
    assert commit.commit_shard(database, rest, compute(rest), "model")
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
    held = claim(database, at_pace(0.1))
    blocked_job(database, 8, 8, priority=0)
    assert balance(database, {}) == []
    urgent = blocked_job(database, 8, 8, priority=1)
    assert [one.key for one in balance(database, {})] == [held.key]
    assert claims.poll(database, held) == LeaseStatus(control=Control.RUN, hi=8)
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
