"""The contract of store, leases and lifecycle: the same on every database."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState, WorkerCount
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.lifecycle import WaitingShard
from db.queue.planning import Plan
from db.queue.recovery import MAX_ERRORS, MAX_LOSSES
from db.results import commit
from jobs.errors import ConflictError, NotFoundError
from jobs.states import Control
from tests.helpers.jobs import (
    ALICE,
    BOB,
    HEADS,
    SITES,
    completed,
    job_values,
    planned_job,
    result_of,
)

LEASE = 60.0


def rows(database: Database, statement: str) -> list[Any]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]


def execute(database: Database, statement: str) -> None:
    with database.write() as tx:
        tx.run(statement)


def one(database: Database, statement: str) -> Any:
    return rows(database, statement)[0][0]


def claim(database: Database, who: claims.WorkerIdentity = ALICE) -> claims.Claim:
    held = claims.claim(database, who, LEASE)
    assert held is not None
    return held


def finish_all(database: Database) -> None:
    while held := claims.claim(database, ALICE, LEASE):
        assert commit.commit_shard(database, held, completed(held.lo, held.hi), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)


def expire_now(database: Database) -> list[claims.Claim]:
    execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    return lifecycle.expire_leases(database)


def test_a_job_goes_from_queued_to_succeeded(database: Database) -> None:
    job = planned_job(database)
    assert one(database, "SELECT state FROM jobs") == "running"
    finish_all(database)
    assert rows(database, "SELECT state, examples_done FROM jobs") == [("succeeded", 6)]
    assert (
        one(database, f"SELECT COUNT(*) FROM head_scores WHERE job_id = {job}") == 6 * SITES * HEADS
    )
    assert one(database, "SELECT COUNT(*) FROM completeness") == 6 * SITES
    assert one(database, "SELECT COUNT(*) FROM token_edges") == 6 * 4
    assert rows(database, "SELECT DISTINCT outcome FROM attempts") == [("done",)]


def test_stored_numbers_are_the_computed_ones(database: Database) -> None:
    planned_job(database)
    finish_all(database)
    expected = result_of(0, 6)
    stored = rows(database, "SELECT score FROM head_scores ORDER BY example, layer, head")
    np.testing.assert_allclose([s for (s,) in stored], expected.score.ravel(), rtol=1e-6)
    mean, std, n = rows(
        database, "SELECT mean, std, n FROM head_importance WHERE layer = 1 AND head = 2"
    )[0]
    column = expected.score[:, 1, 2].astype(np.float64)
    assert mean == pytest.approx(column.mean(), rel=1e-6)
    assert std == pytest.approx(column.std(ddof=1), rel=1e-5)
    assert n == 6
    edge = rows(
        database,
        "SELECT layer, head, query, key, query_token, key_token FROM token_edges "
        "WHERE example = 3 AND rank = 2",
    )
    assert edge == [(1, 1, 1, 2, "a", "b")]
    example = (
        "SELECT text_a, gold, predicted, truncated, probabilities FROM examples WHERE example = 0"
    )
    text_a, gold, predicted, truncated, probabilities = rows(database, example)[0]
    assert (text_a, gold, predicted, bool(truncated)) == ("text 0", 0, 0, True)
    assert json.loads(probabilities) == [0.25, 0.75]


def test_the_order_of_shards_does_not_change_the_result(database: Database) -> None:
    hashes = []
    for order in ([0, 1, 2], [2, 0, 1]):
        planned_job(database)
        held = [claim(database) for _ in order]
        for place in order:
            shard = held[place]
            assert commit.commit_shard(database, shard, completed(shard.lo, shard.hi), "model")
        lifecycle.sweep_jobs(database)
        lifecycle.finish_jobs(database)
        hashes.append(one(database, "SELECT result_hash FROM jobs ORDER BY job_id DESC"))
    assert hashes[0] == hashes[1]


def test_higher_priority_then_older_job_then_first_shard(database: Database) -> None:
    old = planned_job(database)
    urgent = planned_job(database, priority=5)
    order = [(held.job_id, held.shard_no) for held in (claim(database) for _ in range(4))]
    assert order == [(urgent, 0), (urgent, 1), (urgent, 2), (old, 0)]


def test_a_worker_claims_from_its_queue_only(database: Database) -> None:
    planned_job(database, queue="gpu")
    assert claims.claim(database, ALICE, LEASE) is None


def test_a_worker_of_several_queues_claims_from_any_the_best_first(database: Database) -> None:
    jobs = {
        queue: planned_job(database, size=6, queue=queue, priority=priority)
        for queue, priority in (("cpu", 0), ("gpu", 0), ("urgent", 5), ("other", 9))
    }
    both = dataclasses.replace(ALICE, queue="gpu,cpu,urgent")
    fleet.report_worker(database, both, ProcessState.IDLE)
    assert fleet.count_workers(database, 60) == dict.fromkeys(
        both.queues, WorkerCount(idle=1, alive=1)
    )
    held = [claims.claim(database, both, LEASE) for _ in range(4)]
    order = [claim and claim.job_id for claim in held]
    assert order == [jobs["urgent"], jobs["cpu"], jobs["gpu"], None]


def test_nothing_ready_gives_no_claim(database: Database) -> None:
    assert claims.claim(database, ALICE, LEASE) is None


def test_two_claimers_never_get_the_same_shard(database: Database) -> None:
    planned_job(database, examples=40, size=1)
    taken: list[int] = []
    lock = threading.Lock()

    def take(who: claims.WorkerIdentity) -> None:
        mine = Database(database.url)
        while held := claims.claim(mine, who, LEASE):
            with lock:
                taken.append(held.shard_no)
        mine.close()

    threads = [threading.Thread(target=take, args=(who,)) for who in (ALICE, BOB, ALICE, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(40))


def test_a_zombie_cannot_commit(database: Database) -> None:
    planned_job(database, examples=2)
    zombie = claim(database, ALICE)
    assert [held.fence for held in expire_now(database)] == [1]
    again = claim(database, BOB)
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
    held = claim(database, BOB)
    claims.record_error(database, zombie, "late", permanent=True)
    claims.hand_back(database, zombie, "late")
    state = "SELECT state, fence, errors, worker FROM shards"
    assert rows(database, state) == [("leased", held.fence, 0, "bob")]


def test_a_failing_commit_leaves_nothing(database: Database) -> None:
    planned_job(database, examples=2)
    held = claim(database)
    good = completed(0, 2)
    # An edge that names a token which is not there breaks the transaction half way.
    broken = dataclasses.replace(good.parts[0], edge_query=result_of(0, 2).edge_query + 99)
    with pytest.raises(IndexError):
        commit.commit_shard(database, held, dataclasses.replace(good, parts=(broken,)), "model")
    for table in ("head_score", "example_result", "site_result", "edge", "shard_sum", "site"):
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


def test_a_paused_job_gives_no_shards_until_it_is_resumed(database: Database) -> None:
    job = planned_job(database)
    lifecycle.set_control(database, job, "pause")
    assert one(database, "SELECT state FROM jobs") == "paused"
    assert claims.claim(database, ALICE, LEASE) is None
    lifecycle.set_control(database, job, "resume")
    finish_all(database)
    assert one(database, "SELECT state FROM jobs") == "succeeded"


def test_a_job_paused_before_planning_stays_paused(database: Database) -> None:
    job = new_jobs.create_job(database, job_values(examples=2), [(0, "a", None, "", None)] * 2)
    lifecycle.set_control(database, job, "pause")
    planning.take_plans(database)
    planning.write_plan(database, job, Plan(bounds=[(0, 2)]))
    assert one(database, "SELECT state FROM jobs") == "paused"


def test_the_last_commit_of_a_paused_job_finishes_it(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claim(database)
    lifecycle.set_control(database, job, "pause")
    assert commit.commit_shard(database, held, completed(0, 2), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "succeeded"


def test_cancel_stops_ready_shards_and_waits_for_leased_ones(database: Database) -> None:
    job = planned_job(database)
    held = claim(database)
    lifecycle.set_control(database, job, "cancel")
    lifecycle.sweep_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "cancelling"
    claims.hand_back(database, held, "cancel")
    lifecycle.sweep_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "cancelled"
    assert rows(database, "SELECT DISTINCT state FROM shards") == [("cancelled",)]


def test_cancel_of_a_job_whose_worker_died(database: Database) -> None:
    job = planned_job(database, examples=2)
    claim(database)
    lifecycle.set_control(database, job, "cancel")
    expire_now(database)
    lifecycle.sweep_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "cancelled"


def test_cancel_racing_the_last_commit_keeps_the_commit(database: Database) -> None:
    job = planned_job(database, examples=2)
    held = claim(database)
    lifecycle.set_control(database, job, "cancel")
    assert commit.commit_shard(database, held, completed(0, 2), "model")
    lifecycle.sweep_jobs(database)
    assert one(database, "SELECT state FROM jobs") == "cancelled"
    assert one(database, "SELECT state FROM shards") == "done"


@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
def test_a_final_job_refuses_control(database: Database, action: str) -> None:
    job = planned_job(database)
    finish_all(database)
    with pytest.raises(ConflictError, match="succeeded"):
        lifecycle.set_control(database, job, action)


def test_control_of_an_unknown_job(database: Database) -> None:
    with pytest.raises(NotFoundError, match="99"):
        lifecycle.set_control(database, 99, "pause")


def test_delete_needs_a_final_job_and_leaves_nothing(database: Database) -> None:
    job, other = planned_job(database), planned_job(database)
    with pytest.raises(ConflictError, match="cancel it before"):
        lifecycle.set_control(database, job, "delete")
    finish_all(database)
    lifecycle.set_control(database, job, "delete")
    tables = ("job", "shard", "attempt", "example", "example_result", "head_score", "edge", "site")
    for table in (*tables, "site_result", "shard_sum", "importance"):
        key = "id" if table == "job" else "job_id"
        assert rows(database, f"SELECT DISTINCT {key} FROM {table}") == [(other,)], table


def test_the_second_planner_does_nothing(database: Database) -> None:
    job = new_jobs.create_job(database, job_values(examples=2), [(0, "a", None, "", None)] * 2)
    assert [plan.job_id for plan in planning.take_plans(database)] == [job]
    assert [plan.job_id for plan in planning.take_plans(database)] == [job]
    assert planning.write_plan(database, job, Plan(bounds=[(0, 2)]))
    assert not planning.write_plan(database, job, Plan(bounds=[(0, 1), (1, 2)]))
    assert one(database, "SELECT COUNT(*) FROM shards") == 1


def test_a_failed_plan_fails_the_job_with_its_reason(database: Database) -> None:
    job = new_jobs.create_job(database, job_values(examples=0), None)
    planning.take_plans(database)
    planning.fail_plan(database, job, "data.dataset: cannot be loaded")
    state = "SELECT state, error FROM jobs"
    assert rows(database, state) == [("failed", "data.dataset: cannot be loaded")]


def test_finishing_twice_is_finishing_once(database: Database) -> None:
    planned_job(database)
    finish_all(database)
    before = rows(database, "SELECT * FROM jobs")
    assert lifecycle.finish_jobs(database) == []
    assert rows(database, "SELECT * FROM jobs") == before


def test_the_same_idempotency_key_is_one_job(database: Database) -> None:
    first = new_jobs.create_job(database, job_values(idempotency_key="k"), None)
    assert new_jobs.create_job(database, job_values(idempotency_key="k"), None) == first
    other = new_jobs.create_job(database, job_values(idempotency_key="k", user_name="other"), None)
    assert other != first


def test_the_same_work_twice_at_once_is_one_job(database: Database) -> None:
    made: list[int] = []

    def make() -> None:
        mine = Database(database.url)
        made.append(new_jobs.create_job(mine, job_values(dedupe_key="same"), None))
        mine.close()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert one(database, "SELECT COUNT(*) FROM jobs") == 1


def test_finished_work_may_be_done_again(database: Database) -> None:
    first = planned_job(database, dedupe_key="same")
    finish_all(database)
    assert new_jobs.create_job(database, job_values(dedupe_key="same"), None) != first


def test_failed_examples_keep_their_reason_and_are_not_counted(database: Database) -> None:
    planned_job(database, examples=4, size=4)
    held = claim(database)
    failed = frozenset({2})
    assert commit.commit_shard(database, held, completed(0, 4, failed), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    assert rows(database, "SELECT example, error FROM examples WHERE error IS NOT NULL") == [
        (2, "the output is not a number")
    ]
    assert rows(database, "SELECT DISTINCT example FROM head_scores ORDER BY 1") == [
        (0,),
        (1,),
        (3,),
    ]
    assert rows(database, "SELECT DISTINCT n FROM head_importance") == [(3,)]
    counts = "SELECT state, examples_done, examples_failed FROM jobs"
    assert rows(database, counts) == [("succeeded", 4, 1)]


def test_a_job_whose_every_example_failed_did_not_succeed(database: Database) -> None:
    planned_job(database, examples=2)
    held = claim(database)
    assert commit.commit_shard(database, held, completed(0, 2, frozenset({0, 1})), "model")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    state, error = rows(database, "SELECT state, error FROM jobs")[0]
    assert state == "failed"
    assert "every example failed" in error


def test_texts_are_forgotten_when_they_are_not_kept(database: Database) -> None:
    planned_job(database, examples=2, spec=json.dumps({"keep_text": False}))
    held = claim(database)
    assert commit.read_shard(database, held).texts[1] == ("text 1", "second 1")
    assert commit.commit_shard(database, held, completed(0, 2), "model")
    texts = "SELECT text_a, text_b, tokens, text_hash FROM examples WHERE example = 1"
    assert rows(database, texts) == [(None, None, None, "hash 1")]
    assert rows(database, "SELECT DISTINCT query_token FROM token_edges") == [(None,)]


def test_a_model_that_changes_under_the_job_is_refused(database: Database) -> None:
    planned_job(database, examples=4)
    first, second = claim(database), claim(database)
    assert commit.commit_shard(database, first, completed(0, 2), "model")
    with pytest.raises(commit.ChangedModelError, match="changed while the job ran"):
        commit.commit_shard(database, second, completed(2, 4), "another model")
    assert one(database, "SELECT COUNT(*) FROM examples") == 2


def test_waiting_shards_are_announced_again_only_after_a_while(database: Database) -> None:
    job = planned_job(database, examples=4)
    waiting = lifecycle.waiting_shards(database, 30, 10)
    shards = [
        WaitingShard(job_id=job, shard_no=number, queue="default", blocks=1) for number in (0, 1)
    ]
    assert waiting == shards
    lifecycle.mark_dispatched(database, shards[:1])
    assert lifecycle.waiting_shards(database, 30, 10) == shards[1:]
    execute(database, "UPDATE shard SET dispatched_at = dispatched_at - 31")
    assert len(lifecycle.waiting_shards(database, 30, 10)) == 2


def test_workers_are_counted_while_they_beat(database: Database) -> None:
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
    fleet.report_worker(
        database, BOB, ProcessState.BUSY, claims.Claim(job_id=1, shard_no=2, fence=1, lo=0, hi=1)
    )
    assert fleet.count_workers(database, 30) == {"default": WorkerCount(idle=1, alive=2)}
    assert rows(database, "SELECT job_id, shard FROM workers WHERE worker = 'bob'") == [(1, 2)]
    execute(database, "UPDATE worker SET seen_at = seen_at - 60 WHERE name = 'alice'")
    assert fleet.count_workers(database, 30) == {"default": WorkerCount(idle=0, alive=1)}
    fleet.delete_unseen(database, 30)
    assert rows(database, "SELECT worker FROM workers") == [("bob",)]


def test_measured_rate(database: Database) -> None:
    assert planning.measured_rate(database, "attribution", SITES, HEADS) is None
    planned_job(database)
    finish_all(database)
    rate = planning.measured_rate(database, "attribution", SITES, HEADS)
    assert rate is not None
    assert rate.seconds_per_unit == pytest.approx(3 * 0.5 / 6)
    assert planning.measured_rate(database, "attribution", SITES + 1, HEADS) is None


def test_fences_equal_attempts(database: Database) -> None:
    planned_job(database)
    claims.hand_back(database, claim(database), "pause")
    claim(database)
    expire_now(database)
    finish_all(database)
    fences = one(database, "SELECT SUM(fence) FROM shards")
    assert fences == one(database, "SELECT COUNT(*) FROM attempts") == 5


def test_migrating_twice_and_at_once_is_harmless(database: Database) -> None:
    errors: list[BaseException] = []

    def migrate() -> None:
        mine = Database(database.url)
        try:
            mine.migrate()
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert database.schema_is_current()


def test_reading_does_not_wait_for_whoever_writes(database: Database) -> None:
    job = planned_job(database)
    with database.write() as writing:
        writing.execute(text("UPDATE job SET name = 'other'"))
        with database.read() as reading:
            names = reading.execute(text("SELECT id, name FROM job")).all()
    assert [tuple(row) for row in names] == [(job, "test")]
