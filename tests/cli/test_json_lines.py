"""HEADWISE_LOG_FORMAT=json: every line of every role is a JSON object, from start to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scheduler.loop import Scheduler
from tests.helpers.ports import free_port
from tests.helpers.stack import Stack, children_of

ROOT = Path(__file__).parents[2]
SECONDS = 240


class Process:
    """A running `headwise ROLE` and what it writes."""

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        self.file = home / "output"
        plain = {k: v for k, v in os.environ.items() if not k.startswith("HEADWISE_")}
        own = {
            "HEADWISE_LOG_FORMAT": "json",
            "HEADWISE_HOME": str(home),
            "HEADWISE_PORT": str(self.port),
            "HEADWISE_HEARTBEAT_SECONDS": "0.5",
            **environment,
        }
        with self.file.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.main", *arguments],
                env={**plain, **own, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
            )

    def lines(self) -> list[dict[str, Any]]:
        """Parse every whole line."""
        found = []
        for line in self.file.read_text(encoding="utf-8").splitlines():
            try:
                parsed = json.loads(line)
            except ValueError:
                raise AssertionError(f"not JSON: {line!r}") from None
            assert {"event", "level", "timestamp"} <= parsed.keys(), line
            found.append(parsed)
        return found

    def await_(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert self.process.poll() is None, self.file.read_text()[-3_000:]
            assert time.monotonic() < deadline, self.file.read_text()[-3_000:]
            time.sleep(0.1)

    def says(self, event: str) -> bool:
        return f'"event": "{event}"' in self.file.read_text(encoding="utf-8")

    def status_of(self, path: str) -> int:
        """Ask the dashboard; 0 while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as got:
                return int(got.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def end(self) -> list[dict[str, Any]]:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0
        return self.lines()


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[Process]:
    started = Process(home, *arguments)
    try:
        yield started
    finally:
        for pid in [*children_of(started.process.pid), started.process.pid]:
            if started.process.poll() is None:
                os.kill(pid, signal.SIGKILL)
        started.process.wait()


def events(lines: list[dict[str, Any]]) -> set[str]:
    return {line["event"] for line in lines}


def test_the_scheduler_which_also_migrates(tmp_path: Path) -> None:
    with running(tmp_path, "scheduler") as process:
        process.await_(lambda: process.says("scheduler started"))
        assert {"scheduler started", "scheduler stopped"} <= events(process.end())


def test_the_dashboard(tmp_path: Path) -> None:
    with running(tmp_path, "web") as process:
        process.await_(lambda: process.status_of("/") == 200)
        assert process.status_of("/nothing?secret=hunter2") == 404
        assert process.status_of("/api/v1/jobs?limit=x") in (400, 422)
        lines = process.end()
    asked = [line for line in lines if line["event"] == "request"]
    assert {(line["path"], line["status"]) for line in asked} >= {("/", 200), ("/nothing", 404)}
    assert "hunter2" not in process.file.read_text()


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Stack]:
    """A data folder with a planned job, announced to a worker that is about to start."""
    stack = Stack(tmp_path)
    stack.submit(4)
    scheduler = Scheduler(stack.settings, stack.database)
    scheduler.plan()
    scheduler.dispatch()
    yield stack
    stack.stop()


def test_a_worker(planned: Stack) -> None:
    with running(planned.home, "worker") as process:
        process.await_(lambda: process.says("shard stored"))
        assert {"worker ready", "shard stored"} <= events(process.end())


def test_a_worker_of_a_batch(planned: Stack) -> None:
    process = Process(planned.home, "worker", "--max-shards", "1")
    assert process.process.wait(SECONDS) == 0
    assert {"worker ready", "shard stored", "worker ended"} <= events(process.lines())


def test_all_of_them(tmp_path: Path) -> None:
    with running(tmp_path, "up") as process:
        process.await_(lambda: process.says("worker ready") and process.status_of("/readyz") == 200)
        said = events(process.end())
    assert {"dashboard", "started", "scheduler started", "all processes stopped"} <= said


@pytest.mark.parametrize("role", ["web", "scheduler", "worker", "up"])
def test_a_role_that_refuses_to_start(tmp_path: Path, role: str) -> None:
    process = Process(tmp_path, role, HEADWISE_PORT="many")
    assert process.process.wait(SECONDS) == 2
    (line,) = process.lines()
    assert line["event"].startswith("HEADWISE_PORT: ")
    assert line["level"] == "error"
