"""A worker that no message wakes checks for ready shards by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import workers.worker
from jobs.settings import Settings
from workers import celery_worker
from workers.celery_worker import _Child, _Shutdown


class FakeWorker:
    """Works until it may end, and notes how often and how many at a time."""

    def __init__(self, _: Settings) -> None:
        self.stopping = self.closed = self.gpu_failed = False
        self.may_end = threading.Event()
        self.may_end.set()
        self.checks = self.at_once = self.most_at_once = 0

    def start(self) -> None:
        pass

    def compute_shards(self) -> int:
        self.checks += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.may_end.wait()
        self.at_once -= 1
        return 1

    def stop(self, _: str) -> None:
        self.stopping = True
        self.may_end.set()

    def close(self) -> None:
        assert self.at_once == 0
        self.closed = True


class NoShutdown(_Shutdown):
    """Never announced: without a fork, waiting for the real one would announce it."""

    def wait(self) -> None:
        threading.Event().wait()


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Child:
    monkeypatch.setattr(celery_worker, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(workers.worker, "Worker", FakeWorker)
    monkeypatch.setattr(celery_worker, "configure_logs", lambda _: None)
    started = _Child(Settings(home=tmp_path), NoShutdown())
    started.start()
    return started


def worker_of(child: _Child) -> FakeWorker:
    assert isinstance(child._worker, FakeWorker)
    return child._worker


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_it_checks_without_a_message(child: _Child) -> None:
    worker = worker_of(child)
    until(lambda: worker.checks >= 3)
    child.close()
    assert worker.closed


def test_a_message_waits_for_a_check_that_has_begun(child: _Child) -> None:
    worker = worker_of(child)
    worker.may_end.clear()
    until(lambda: worker.at_once == 1)
    message = threading.Thread(target=child.wake)
    message.start()
    checks = worker.checks
    worker.may_end.set()
    message.join(30)
    assert worker.checks > checks
    assert worker.most_at_once == 1
    child.close()


def test_the_end_waits_for_a_check_that_hands_back(child: _Child) -> None:
    worker = worker_of(child)
    worker.may_end.clear()
    until(lambda: worker.at_once == 1)
    child.close()
    assert worker.stopping
    assert worker.closed


def test_a_child_whose_gpu_failed_signs_off_and_dies(
    child: _Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    worker = worker_of(child)
    worker.gpu_failed = True
    child.wake()
    assert set(ended) == {celery_worker.GPU_FAILED}
    assert worker.closed
    worker.gpu_failed = False
    child.close()
