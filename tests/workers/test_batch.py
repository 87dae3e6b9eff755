"""Workers that end by themselves: real processes that get their work from the database."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.commands.processes import workers_on
from cli.supervisor import Supervisor
from tests.helpers.stack import Stack, exactly_once
from workers.batch import _compute
from workers.stop_conditions import StopConditions

pytestmark = pytest.mark.timeout(600)  # starting torch takes a minute on a busy machine

STATE = "SELECT state FROM jobs WHERE job_id = {}"
OUTCOMES = "SELECT outcome FROM attempts"
TROUBLE = "SELECT SUM(errors), SUM(losses) FROM shards"
LEASED = "SELECT COUNT(*) FROM shards WHERE state = 'leased'"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Short shards; the broker is a file that these workers never open."""
    stack = Stack(tmp_path, shard_seconds=0.2, lease_seconds=30)
    yield stack
    stack.stop()


def planned(stack: Stack, examples: int = 60, **spec: object) -> int:
    """A job that waits for workers."""
    job = stack.submit(examples, **spec)
    stack.start("scheduler")
    stack.wait_for(STATE.format(job), "running")
    return job


def test_a_draining_worker_waits_for_planning_and_ends_when_nothing_is_ready(
    stack: Stack,
) -> None:
    job = stack.submit(60)
    worker = stack.start("worker", "--drain")
    stack.start("scheduler")
    assert worker.wait(timeout=240) == 0
    stack.wait_for(STATE.format(job), "succeeded")
    exactly_once(stack, job, 60)
    assert stack.rows("SELECT state FROM worker") == [("stopped",)]


def test_a_job_that_is_planned_after_a_look_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look finds nothing, then the job is planned: nothing is being planned any more."""
    looks = iter([0, 3, 0])
    worker: Any = SimpleNamespace(
        compute_shards=lambda _: next(looks), gpu_failed=False, database=None, identity=None
    )
    monkeypatch.setattr("db.queue.claims.planning_ahead", lambda *_: False)
    _compute(worker, StopConditions(drain=True), threading.Event())
    assert list(looks) == []


def test_a_worker_ends_after_so_many_shards_and_takes_any_of_its_queues(stack: Stack) -> None:
    job = planned(stack)
    worker = stack.start("worker", "--queues=other,default", "--max-shards=2")
    assert worker.wait(timeout=240) == 0
    assert stack.rows(OUTCOMES) == [("done",)] * 2
    assert stack.rows("SELECT queue FROM worker") == [("other,default",)]
    assert stack.start("worker", "--drain").wait(timeout=240) == 0
    stack.wait_for(STATE.format(job), "succeeded")
    exactly_once(stack, job, 60)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_hands_the_shard_back(tmp_path: Path, number: signal.Signals) -> None:
    stack = Stack(tmp_path, shard_seconds=3600, lease_seconds=30)
    try:
        job = stack.submit(600, integration="gauss-legendre:64")
        stack.start("scheduler")
        worker = stack.start("worker", "--max-shards=2")
        stack.wait_for(f"{LEASED} AND progress > 0 AND shard > 0", 1, 240)  # the first is soon done
        worker.send_signal(number)
        assert worker.wait(timeout=240) == 0
        ((error,),) = stack.rows("SELECT error FROM attempts WHERE shard > 0")
        assert error.removeprefix("handed back: ") == number.name, "with or without a whole block"
        assert stack.rows(TROUBLE) == [(0, 0)]
        assert stack.rows(LEASED) == [(0,)]
        assert stack.rows(STATE.format(job)) == [("running",)]
    finally:
        stack.stop()


def test_a_worker_hands_back_what_its_time_does_not_suffice_for(tmp_path: Path) -> None:
    stack = Stack(tmp_path, shard_seconds=3600, lease_seconds=30)
    try:
        job = stack.submit(600, integration="gauss-legendre:64")
        stack.start("scheduler")
        worker = stack.start("worker", "--max-seconds=3")
        assert worker.wait(timeout=240) == 0
        outcomes = [outcome for (outcome,) in stack.rows(OUTCOMES)]
        assert set(outcomes) <= {"done", "handed-back"}
        assert outcomes.count("handed-back") <= 1
        assert stack.rows(TROUBLE) == [(0, 0)]
        assert stack.rows(LEASED) == [(0,)]
        assert stack.rows(STATE.format(job)) == [("running",)]
    finally:
        stack.stop()


def test_devices_share_the_work_and_end_together(stack: Stack) -> None:
    """Two processes on the CPU stand for two GPUs: what differs is their environment only."""
    job = planned(stack, 120)
    places = [{**stack.environment, "HEADWISE_DEVICE": "cpu"} for _ in range(2)]
    children = workers_on(places, stack.settings, StopConditions(drain=True))
    Supervisor(children).supervise()
    assert [child.status for child in children] == [0, 0]
    stack.wait_for(STATE.format(job), "succeeded")
    exactly_once(stack, job, 120)
    assert stack.rows("SELECT COUNT(DISTINCT pid), MAX(state) FROM worker") == [(2, "stopped")]
