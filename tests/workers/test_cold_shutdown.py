"""SIGQUIT ends a worker in any case: a stopped child or a frozen broker kept it for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
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


def end_computing(stack: Stack, still: str, broker: Server | None) -> None:
    """A worker that computes gets a SIGQUIT while something stands still."""
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
