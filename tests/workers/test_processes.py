"""Real processes, killed for real: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import headwise
from scheduler.submission.control import control
from tests.helpers.stack import Stack, alive, children_of, exactly_once

EXAMPLES = 120
STATE = "SELECT state FROM jobs WHERE job_id = {}"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path)
    yield stack
    stack.stop()


def in_mid_shard(stack: Stack) -> None:
    """Wait until a worker computes: it has stored one shard and holds the next.

    A process that is stopped in the middle of a commit would keep SQLite's write lock.
    """
    count = "(SELECT COUNT(*) FROM shards WHERE state = '{}')"
    stack.wait_for(f"SELECT {count.format('leased')} = 1 AND {count.format('done')} > 0", 1)


def long_job(stack: Stack) -> int:
    """Some seconds of work, so that a kill lands in the middle."""
    return stack.submit(EXAMPLES, integration="gauss-legendre:64")


def test_the_embedded_stack_computes_what_the_library_computes(stack: Stack) -> None:
    stack.start_scheduler_and_worker()
    job = stack.submit(30)
    stack.wait_for(STATE.format(job), "succeeded")
    exactly_once(stack, job, 30)
    loaded = headwise.load(stack.home / "models/tiny", device="cpu")
    texts = stack.rows("SELECT text_a, text_b FROM examples ORDER BY example")
    direct = headwise.attribute(
        loaded.model, loaded.tokenizer, texts, integration="gauss-legendre:8", matrices=False
    )
    stored = stack.rows("SELECT score FROM head_scores ORDER BY example, layer, head")
    # float32, other batches than in the job: a thousandth of the largest score at most.
    np.testing.assert_allclose(
        [row[0] for row in stored], direct.scores.ravel(), atol=1e-5 * direct.scores.max()
    )


def test_a_worker_killed_in_mid_shard_loses_and_doubles_nothing(tmp_path: Path) -> None:
    hashes = []
    for name, kill in (("undisturbed", False), ("disturbed", True)):
        (tmp_path / name).mkdir()
        stack = Stack(tmp_path / name)
        try:
            stack.start_scheduler_and_worker()
            job = long_job(stack)
            if kill:
                in_mid_shard(stack)
                os.kill(stack.worker_pid(), signal.SIGKILL)
            stack.wait_for(STATE.format(job), "succeeded")
            exactly_once(stack, job, EXAMPLES)
            lost = "SELECT COUNT(*) FROM attempts WHERE outcome = 'lost'"
            # Of the one that was killed: the shard that it computed, and perhaps the one before,
            # whose results it stored.
            assert stack.rows(lost) in ([[(1,)], [(2,)]] if kill else [[(0,)]])
            hashes += stack.rows("SELECT result_hash FROM jobs")
        finally:
            stack.stop()
    assert hashes[0] == hashes[1]


def test_the_whole_worker_killed_is_restarted_and_leaves_no_orphan(stack: Stack) -> None:
    stack.start("up")
    job = long_job(stack)
    in_mid_shard(stack)
    child = stack.worker_pid()
    parent = int(Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    stack.wait_for(STATE.format(job), "succeeded")
    exactly_once(stack, job, EXAMPLES)
    stack.until(lambda: not alive([child]), "the orphan's end", 30)


def test_sigterm_stops_everything_and_hands_the_shard_back(stack: Stack) -> None:
    up = stack.start("up")
    job = long_job(stack)
    in_mid_shard(stack)
    family = children_of(up.pid)
    assert len(family) >= 4
    up.send_signal(signal.SIGTERM)
    assert up.wait(timeout=30) == 0
    assert alive(family) == []
    states = "SELECT DISTINCT state FROM shards ORDER BY state"
    assert stack.rows(states) == [("done",), ("ready",)]
    # What it had computed is stored, unless it was in the first block of its shard.
    ended = "SELECT COUNT(*) FROM attempts WHERE error LIKE '%the worker is shutting down'"
    assert stack.rows(ended) == [(1,)]
    stack.start_scheduler_and_worker()
    stack.wait_for(STATE.format(job), "succeeded")
    exactly_once(stack, job, EXAMPLES)
    assert stack.rows("SELECT SUM(errors), SUM(losses) FROM shards") == [(0, 0)]


def test_a_worker_whose_child_was_killed_still_hears_sigterm(stack: Stack) -> None:
    worker = stack.start("worker")
    registered = "SELECT COUNT(*) FROM worker"
    stack.wait_for(registered, 1)
    os.kill(stack.worker_pid(), signal.SIGKILL)
    stack.wait_for(registered, 2)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=90) == 0


def test_a_stopped_process_that_wakes_up_after_its_lease_is_refused(stack: Stack) -> None:
    stack.start_scheduler_and_worker()
    job = long_job(stack)
    in_mid_shard(stack)
    sleeper = stack.worker_pid()
    os.kill(sleeper, signal.SIGSTOP)
    stack.wait_for("SELECT COUNT(*) > 0 FROM attempts WHERE outcome = 'lost'", 1)
    stack.start("worker")
    stack.wait_for(STATE.format(job), "succeeded")
    os.kill(sleeper, signal.SIGCONT)
    time.sleep(1.0)
    exactly_once(stack, job, EXAMPLES)


def test_a_killed_scheduler_is_restarted(stack: Stack) -> None:
    up = stack.start("up")
    stack.until(lambda: len(children_of(up.pid)) >= 3, "the children")
    scheduler = next(
        pid
        for pid in children_of(up.pid)
        if b"scheduler" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(scheduler, signal.SIGKILL)
    job = stack.submit(6)
    stack.wait_for(STATE.format(job), "succeeded")
    exactly_once(stack, job, 6)


def test_pause_resume_and_cancel_reach_a_running_shard(stack: Stack) -> None:
    stack.start_scheduler_and_worker()
    job = long_job(stack)
    in_mid_shard(stack)
    control(stack.database, job, "pause")
    stack.wait_for("SELECT COUNT(*) FROM shards WHERE state = 'leased'", 0, 20)
    assert stack.rows(STATE.format(job)) == [("paused",)]
    control(stack.database, job, "resume")
    in_mid_shard(stack)
    control(stack.database, job, "cancel")
    stack.wait_for(STATE.format(job), "cancelled", 20)
    assert stack.rows("SELECT SUM(errors), SUM(losses) FROM shards") == [(0, 0)]


def test_a_shard_whose_model_is_gone_fails_the_job_with_its_reason(stack: Stack) -> None:
    job = stack.submit(4)
    # The model's weights go away between submit and run.
    (stack.home / "models/tiny/model.safetensors").unlink()
    stack.start_scheduler_and_worker()
    stack.wait_for("SELECT MAX(errors) FROM shards", 1)
    outcome, error = stack.rows("SELECT outcome, error FROM attempt")[0]
    assert outcome == "error"
    assert "model" in error
    stack.wait_for("SELECT MIN(event) FROM job_log WHERE level = 40", "the shard raised an error")
    stack.wait_for(STATE.format(job), "failed", 20)
