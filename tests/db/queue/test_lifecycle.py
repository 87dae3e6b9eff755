"""A job from its submission to its result, on every database."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState, WorkerCount
from db.queue import claims, lifecycle, new_jobs, planning
from db.queue.lifecycle import WaitingShard
from db.queue.planning import Plan
from db.reads import jobs as job_reads
from db.results import commit
from headwise.segmentation import Segmentation, Span
from tests.helpers.databases import execute, one, rows
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
from tests.helpers.queue import (
    claim,
    finish_all,
)


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


def test_accuracy_at_chance_is_warned_of(database: Database) -> None:
    good, odd = planned_job(database, examples=20), planned_job(database, examples=20)
    execute(database, f"UPDATE example SET gold = 0 WHERE job_id = {odd}")
    finish_all(database)
    assert job_reads.get_job(database, good).warning is None
    job = job_reads.get_job(database, odd)
    assert job.state == "succeeded"
    assert "accuracy 50 % on 20 labelled examples is at or below chance" in str(job.warning)


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
    done = completed(0, 2)
    words = Segmentation(word_index=(0, 1, 2, 3), spans=(None, Span(0, 0, 4), Span(0, 5, 6), None))
    told = tuple(
        replace(example, words=words, word_texts=("[CLS]", "text", "0", "[SEP]"))
        for example in done.parts[0].examples
    )
    done = replace(done, parts=(replace(done.parts[0], examples=told),))
    assert commit.commit_shard(database, held, done, "model")
    texts = (
        "SELECT text_a, text_b, tokens, word_index, token_spans, text_hash FROM examples "
        "WHERE example = 1"
    )
    assert rows(database, texts) == [(None, None, None, None, None, "hash 1")]
    columns = "query_token, key_token, query_word, key_word"
    assert rows(database, f"SELECT DISTINCT {columns} FROM token_edges") == [(None,) * 4]


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
