"""SIGQUIT ends a worker in any case: a stopped child or a frozen broker kept it for ever."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import pytest

from tests.helpers.environment import missing
from tests.helpers.services import RabbitMQ, Redis, Server
from tests.helpers.stack import Stack, alive, children_of, frozen


@pytest.fixture(
    params=[
        None,
        pytest.param(Redis, marks=pytest.mark.services),
        pytest.param(RabbitMQ, marks=pytest.mark.services),
    ]
)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server | None]:
    """A broker that may be frozen; None stands for the embedded one."""
    if request.param is None:
        yield None
        return
    if lacks := request.param.missing():
        missing(lacks)
    (tmp_path / "broker").mkdir()
    server = request.param(tmp_path / "broker")
    server.create()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def stack(tmp_path: Path, broker: Server | None) -> Iterator[Stack]:
    stack = Stack(tmp_path, **({"broker_url": broker.url} if broker else {}))
    stack.start("scheduler")
    yield stack
    stack.stop()


def shutting_down(stack: Stack) -> bool:
    """Has the newest worker said so?"""
    newest = max(stack.home.glob("worker-*.log"), key=lambda log: log.stat().st_mtime)
    return "Warm shutdown" in newest.read_text()


def end_computing(stack: Stack, still: str, broker: Server | None) -> None:
    """A worker that computes gets a SIGQUIT while something stands still, or SIGINT twice."""
    worker = stack.start("worker")
    stack.wait_for("SELECT COUNT(*) > 0 FROM shard WHERE state = 'leased'", 1)
    children = children_of(worker.pid)
    standing: AbstractContextManager[None] = nullcontext()
    if still == "child":
        for child in children:
            os.kill(child, signal.SIGSTOP)
    elif still == "broker":
        standing = frozen(broker)
    with standing:
        if still == "child":
            worker.send_signal(signal.SIGINT)
            stack.until(lambda: shutting_down(stack), "the warm shutdown", 30)
            worker.send_signal(signal.SIGINT)
        else:
            worker.send_signal(signal.SIGQUIT)
        worker.wait(timeout=60)
        stack.until(lambda: not alive(children), "the children's end", 30)


@pytest.mark.timeout(600)
def test_a_cold_shutdown_waits_for_nothing_that_stands_still(
    stack: Stack, broker: Server | None
) -> None:
    stack.submit(120, integration="gauss-legendre:64")
    end_computing(stack, "nothing", broker)
    assert stack.rows("SELECT COUNT(*) FROM attempt WHERE outcome IS NULL") == [(0,)]
    assert stack.rows("SELECT SUM(errors), SUM(losses) FROM shard") == [(0, 0)]
    if broker is not None:
        end_computing(stack, "broker", broker)
    end_computing(stack, "child", broker)


WAITS_FOR_A_LOCK = """
import sqlite3, sys
import cli.commands.processes  # as `headwise worker`: with NumPy, which starts threads
from workers import celery_worker

celery_worker.COLD_SECONDS = 0.1
celery_worker._expect_cold_shutdown(lambda: print("announced", flush=True))
waiting = sqlite3.connect(sys.argv[1], timeout=600)
print("waits", flush=True)
waiting.execute("BEGIN IMMEDIATE")
"""


def test_a_cold_shutdown_does_not_wait_for_a_library(tmp_path: Path) -> None:
    """Python runs no signal handler while the main thread is inside SQLite."""
    with closing(sqlite3.connect(tmp_path / "locked.db", isolation_level=None)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        command = [sys.executable, "-c", WAITS_FOR_A_LOCK, str(tmp_path / "locked.db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waits\n"
            process.send_signal(signal.SIGQUIT)
            assert process.stdout.readline() == "announced\n"
            assert process.wait(timeout=60) == 1
