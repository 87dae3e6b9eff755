"""The results of a shard are stored while the next one is computed, and whatever happens to either
of them is no business of the other's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.queue import claims, lifecycle
from db.queue.claims import Claim
from db.results import commit
from db.results.commit import ChangedModelError, ShardInput
from jobs.errors import UnavailableError
from jobs.outcome import Stage, StopReason
from jobs.processes import logs
from jobs.settings import Settings
from tests.helpers.databases import execute, rows
from tests.helpers.jobs import planned_job, result_of
from workers import worker as worker_module
from workers.executor import Attempt
from workers.heartbeat import WorkerHeartbeat
from workers.worker import Worker

SHARDS = 3
SOON = 60.0
"""Seconds after which a test has failed: what is waited for comes at once."""
STATES = "SELECT shard_no, state FROM shard ORDER BY shard_no"
ENDS = "SELECT shard_no, fence, outcome FROM attempt ORDER BY shard_no, fence"
DONE = [(number, "done") for number in range(SHARDS)]
Hook = Callable[[Claim], None]


class Bench:
    """A worker whose attempts and commits call a test's hooks, by number of their shard."""

    def __init__(self, database: Database, patch: pytest.MonkeyPatch, home: Path) -> None:
        self.database = database
        self.computing: dict[int, Hook] = {}
        self.committing: dict[int, Hook] = {}
        self.began = [threading.Event() for _ in range(SHARDS)]
        """Set when a shard is being computed."""
        self.go = threading.Event()
        """Lets commits go on that wait for it."""
        settings = Settings(home=home, threads=1, device="cpu")
        self.worker = Worker(settings, Database(database.url))
        real = commit.commit_shard

        def commit_shard(database: Database, held: Claim, *more: Any) -> bool:
            self.committing.pop(held.shard_no, ignored)(held)
            return real(database, held, *more)

        patch.setattr(commit, "commit_shard", commit_shard)
        patch.setattr(worker_module, "Attempt", self.attempt_class())
        patch.setattr(worker_module.time, "sleep", ignored)

    def attempt_class(self) -> type[Attempt]:
        stage = self

        class MadeUp(Attempt):
            """Computes nothing."""

            def compute(self, shard: ShardInput) -> None:
                held = self.held
                stage.began[held.shard_no].set()
                self.progress(0)
                self.ready()
                stage.computing.pop(held.shard_no, ignored)(held)
                self.progress(len(shard.texts))
                self.parts.append(result_of(held.lo, held.hi))
                self.seconds, self.fingerprint = 1.0, "model"

        return MadeUp

    def waits(self, _held: Claim) -> None:
        """A hook of a commit: wait for `go`."""
        assert self.go.wait(SOON)

    def after(self, number: int) -> Hook:
        """Make a hook of a commit that waits until a shard is being computed."""

        def wait(_held: Claim) -> None:
            assert self.began[number].wait(SOON)

        return wait

    def check(self) -> None:
        """Every example once, from the attempt that ended its shard, and no lease is left."""
        assert rows(self.database, STATES) == DONE
        twice = "SELECT COUNT(*), COUNT(DISTINCT example_no) FROM example_result"
        assert rows(self.database, twice) == [(2 * SHARDS, 2 * SHARDS)]
        strange = (
            "SELECT r.example_no FROM example_result r JOIN shard s ON s.job_id = r.job_id "
            "AND r.example_no >= s.lo AND r.example_no < s.hi WHERE r.fence <> s.fence"
        )
        assert rows(self.database, strange) == []
        assert rows(self.database, "SELECT 1 FROM attempt WHERE outcome IS NULL") == []
        assert self.worker.heartbeat._held is None
        assert self.worker.heartbeat._storing is None


def ignored(*_: object) -> None:
    """The default hook."""


@pytest.fixture
def bench(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[], Bench]]:
    """Makes the bench of a job that has been planned."""
    made: list[Bench] = []

    def make() -> Bench:
        made.append(Bench(database, monkeypatch, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.worker.database.close()


@pytest.fixture
def stage(bench: Callable[[], Bench], database: Database) -> Bench:
    planned_job(database)
    return bench()


def test_the_next_shard_is_computed_while_one_is_stored(stage: Bench) -> None:
    """Without the overlap no commit would ever begin."""
    stage.committing = {0: stage.after(1), 1: stage.after(2)}
    assert stage.worker.compute_shards() == SHARDS
    stage.check()


def test_nothing_waits_to_be_stored_beside_a_shard_that_has_lost_a_worker(stage: Bench) -> None:
    """An example of it may end the process, and what was computed before would be lost, too."""
    execute(stage.database, "UPDATE shard SET losses = 1 WHERE shard_no = 1")
    before: list[object] = []
    stage.computing[1] = lambda _: before.extend(rows(stage.database, STATES))
    assert stage.worker.compute_shards() == SHARDS
    assert before == [(0, "done"), (1, "leased"), (2, "ready")]
    stage.check()


def test_a_shard_that_cannot_be_read_keeps_no_results_from_the_database(
    stage: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends before it lets the results of the last one be stored."""
    real, unread = commit.read_shard, [1]

    def read_shard(database: Database, held: Claim) -> ShardInput:
        if held.shard_no in unread:
            unread.remove(held.shard_no)
            raise UnavailableError("the server went away")
        return real(database, held)

    monkeypatch.setattr(commit, "read_shard", read_shard)
    assert stage.worker.compute_shards() == SHARDS + 1
    assert unread == []
    stage.check()


def test_only_one_is_stored_at_a_time(stage: Bench) -> None:
    order: list[str] = []
    stage.committing = {n: lambda held: order.append(f"stores {held.shard_no}") for n in (0, 1, 2)}
    first = stage.committing[0]

    def slow(held: Claim) -> None:
        stage.waits(held)
        first(held)

    stage.committing[0] = slow
    real = stage.worker._wait_until_stored

    def wait() -> bool:
        if stage.worker._storing is not None and stage.began[1].is_set():
            order.append("waits")
            stage.go.set()
        return real()

    stage.worker._wait_until_stored = wait  # type: ignore[method-assign]
    assert stage.worker.compute_shards() == SHARDS
    assert order.index("waits") < order.index("stores 0")
    assert [line for line in order if line != "waits"] == ["stores 0", "stores 1", "stores 2"]
    stage.check()


def test_a_worker_for_some_shards_has_stored_them_when_it_ends(stage: Bench) -> None:
    assert stage.worker.compute_shards(2) == 2
    assert rows(stage.database, STATES) == [(0, "done"), (1, "done"), (2, "ready")]


def test_a_limit_of_one_lease_is_no_end(stage: Bench) -> None:
    """A shard that is being stored counts: the worker claims again when it is stored."""
    stage.worker.settings = stage.worker.settings.model_copy(update={"queue_leases": 1})
    assert stage.worker.compute_shards() == SHARDS
    stage.check()


def test_the_heartbeat_renews_both_leases(stage: Bench) -> None:
    stage.committing[0] = stage.waits

    def beat(_held: Claim) -> None:
        execute(stage.database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
        stage.worker.heartbeat._renew()
        held = "SELECT shard_no, progress FROM shard WHERE lease_until > 1 ORDER BY shard_no"
        assert rows(stage.database, held) == [(0, 2), (1, 0)]
        stage.go.set()

    stage.computing[1] = beat
    stage.worker.compute_shards()
    stage.check()


@pytest.mark.parametrize("failures", [1, 3])
def test_a_commit_waits_for_the_database_while_the_next_shard_computes(
    stage: Bench, failures: int
) -> None:
    left = list(range(failures))

    def fails(held: Claim) -> None:
        assert stage.began[1].wait(SOON)
        if left.pop():
            stage.committing[0] = fails
        raise UnavailableError("the database is away")

    stage.committing[0] = fails
    assert stage.worker.compute_shards() == SHARDS
    assert stage.worker.heartbeat.commit_errors == failures
    stage.check()


def test_a_commit_that_finds_another_model_fails_its_own_shard_alone(stage: Bench) -> None:
    def changed(held: Claim) -> None:
        assert stage.began[1].wait(SOON)
        raise ChangedModelError("the model's files changed")

    stage.committing[0] = changed
    assert stage.worker.compute_shards() == SHARDS
    assert rows(stage.database, STATES) == [(0, "failed"), (1, "done"), (2, "done")]


def test_an_error_of_a_commit_is_raised_and_keeps_no_lease(stage: Bench) -> None:
    def breaks(held: Claim) -> None:
        assert stage.began[1].wait(SOON)
        raise ZeroDivisionError

    stage.committing[0] = breaks
    with pytest.raises(ZeroDivisionError):
        stage.worker.compute_shards()
    assert stage.worker.heartbeat._held is None
    assert stage.worker.heartbeat._storing is None
    execute(stage.database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    lifecycle.expire_leases(stage.database)
    stage.worker.compute_shards()
    stage.check()


def test_a_lease_that_is_lost_while_it_waits_to_be_stored_is_computed_again(stage: Bench) -> None:
    stage.committing[0] = stage.waits
    lost: list[Claim] = []
    stage.computing[0] = lost.append

    def lose(_held: Claim) -> None:
        assert lifecycle.take_back(stage.database, lost[0], "too slow")
        stage.go.set()

    stage.computing[1] = lose
    assert stage.worker.compute_shards() == SHARDS + 1
    assert stage.worker.heartbeat.lost_leases == 1
    assert rows(stage.database, ENDS)[:2] == [(0, 1, "lost"), (0, 2, "done")]
    stage.check()


def test_a_stop_stores_what_is_computed_and_hands_the_next_shard_back(stage: Bench) -> None:
    stage.committing[0] = stage.waits

    def told_to(_held: Claim) -> None:
        stage.worker.stop("SIGTERM")
        stage.go.set()

    stage.computing[1] = told_to
    assert stage.worker.compute_shards() == 2
    assert rows(stage.database, ENDS) == [(0, 1, "done"), (1, 1, "handed-back")]
    assert rows(stage.database, STATES) == [(0, "done"), (1, "ready"), (2, "ready")]


def test_a_stop_between_two_shards_stores_the_first(stage: Bench) -> None:
    claim = stage.worker._claim

    def told_to() -> Claim | None:
        held = claim()
        if held is not None and held.shard_no == 1:
            stage.worker.stop("SIGTERM")
        return held

    stage.worker._claim = told_to  # type: ignore[method-assign]
    assert stage.worker.compute_shards() == 2
    assert rows(stage.database, ENDS) == [(0, 1, "done"), (1, 1, "handed-back")]


@pytest.mark.parametrize(
    ("action", "left"), [("pause", "ready"), ("cancel", "cancelled"), ("deadline", "cancelled")]
)
def test_what_users_ask_for_ends_the_shard_that_computes(
    stage: Bench, action: str, left: str
) -> None:
    """Results that are there are stored, whatever users ask for."""
    stage.committing[0] = stage.waits

    def ask(held: Claim) -> None:
        if action == "deadline":
            execute(stage.database, "UPDATE job SET deadline_at = 1")
            lifecycle.sweep_jobs(stage.database)
        else:
            lifecycle.set_control(stage.database, held.job_id, action)
        stage.worker.heartbeat._check()
        stage.go.set()

    stage.computing[1] = ask
    assert stage.worker.compute_shards() == 2
    lifecycle.sweep_jobs(stage.database)
    assert rows(stage.database, STATES) == [(0, "done"), (1, left), (2, left)]
    assert rows(stage.database, "SELECT COUNT(*) FROM example_result") == [(2,)]
    assert rows(stage.database, "SELECT 1 FROM attempt WHERE outcome IS NULL") == []


def storing_and_computing(stage: Bench) -> tuple[WorkerHeartbeat, list[int]]:
    """The heartbeat of a worker with a shard in each hand, and the statuses it ends with."""
    ends: list[int] = []
    heartbeat = stage.worker.heartbeat
    heartbeat.end_process = ends.append
    first, second = (claims.claim(stage.database, stage.worker.identity, 60) for _ in range(2))
    assert first is not None
    assert second is not None
    heartbeat.hold(first)
    heartbeat.store()
    heartbeat.hold(second)
    return heartbeat, ends


def test_a_shutdown_while_a_model_is_loaded_waits_for_the_commit(stage: Bench) -> None:
    heartbeat, ends = storing_and_computing(stage)
    heartbeat.enter(Stage.LOADING)
    heartbeat.stop_attempt(StopReason.SHUTDOWN, "told to")
    for _ in range(2):
        heartbeat._leave_loading()
        assert ends == []
        assert rows(stage.database, STATES) == [(0, "leased"), (1, "ready"), (2, "ready")]
    heartbeat.stored()
    heartbeat._leave_loading()
    assert ends == [0]


def test_a_commit_that_hangs_ends_the_worker_though_it_computes(stage: Bench) -> None:
    heartbeat, ends = storing_and_computing(stage)
    heartbeat._storing_since -= 400
    heartbeat._end_if_hung()
    assert ends == [71]
    assert rows(stage.database, STATES) == [(n, "ready") for n in range(SHARDS)]


def test_log_lines_name_the_shard_that_is_stored(stage: Bench) -> None:
    logs.configure_logs(stage.worker.settings)
    logs.pending.take(10_000)
    stage.committing = {0: stage.after(1), 1: stage.after(2)}
    stage.worker.compute_shards()
    lines = logs.pending.take(10_000)
    for event in ("shard started", "shard computed", "shard stored"):
        assert [line.shard for line in lines if line.event == event] == [0, 1, 2], event


def _killed(url: str, home: Path, inside: Any) -> None:
    """A worker that ends in the middle of its first commit, while it computes the next shard."""
    with pytest.MonkeyPatch.context() as patch:
        stage = Bench(Database(url), patch, home)

        def kill(*_: object) -> None:
            assert stage.began[1].wait(SOON)
            inside.set()
            os.kill(os.getpid(), signal.SIGKILL)

        patch.setattr(commit, "end_done", kill)
        stage.computing[1] = lambda _held: threading.Event().wait(SOON) and None
        stage.worker.compute_shards()


def test_a_worker_that_is_killed_in_a_commit_loses_both_shards(
    database: Database, bench: Callable[[], Bench], tmp_path: Path
) -> None:
    planned_job(database)
    context = multiprocessing.get_context("fork")
    inside = context.Event()
    database.close()  # a child must not use its parent's connections
    child = context.Process(target=_killed, args=(database.url, tmp_path, inside))
    child.start()
    child.join(SOON)
    assert inside.is_set()
    assert child.exitcode == -signal.SIGKILL
    assert rows(database, "SELECT COUNT(*) FROM example_result") == [(0,)]
    assert rows(database, STATES) == [(0, "leased"), (1, "leased"), (2, "ready")]
    execute(database, "UPDATE shard SET lease_until = 1 WHERE state = 'leased'")
    assert len(lifecycle.expire_leases(database)) == 2
    stage = bench()
    assert stage.worker.compute_shards() == SHARDS
    stage.check()
