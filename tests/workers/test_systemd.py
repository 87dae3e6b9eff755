"""systemd's watchdog hears from processes that go on, and from no others."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.queue import claims
from jobs.errors import UnavailableError
from jobs.processes import systemd
from jobs.settings import load_settings
from scheduler.broker import make_app
from scheduler.loop import Scheduler
from tests.helpers.databases import sqlite_database
from tests.helpers.jobs import ALICE, planned_job
from workers.heartbeat import HUNG, WorkerHeartbeat

GENEROUS = 60.0


@pytest.fixture
def listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[socket.socket]:
    """The socket of the service manager."""
    name = getattr(request, "param", "") or str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(name.replace("@", "\0"))
        one.settimeout(GENEROUS)
        monkeypatch.setenv(systemd.SOCKET, name)
        yield one


def drain(listener: socket.socket) -> int:
    """Read what has arrived; returns the number of messages."""
    listener.setblocking(False)
    found = 0
    try:
        while listener.recv(100):
            found += 1
    except BlockingIOError:
        listener.settimeout(GENEROUS)
    return found


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return sqlite_database(tmp_path / "headwise.sqlite")


@pytest.mark.parametrize("listener", ["", "@headwise-test"], indirect=True)
def test_a_message_arrives(
    listener: socket.socket,
) -> None:
    systemd.went_on()
    assert listener.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "tcp:nonsense"])
def test_nobody_who_listens_is_no_error(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv(systemd.SOCKET, address)
    systemd.went_on()


def test_a_full_socket_does_not_hold_the_process_up(listener: socket.socket) -> None:
    for _ in range(10_000):
        systemd.went_on()
    assert drain(listener) < 10_000


@pytest.mark.parametrize("busy", [True, False])
def test_a_worker_that_stands_still_falls_silent(
    listener: socket.socket, database: Database, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr("workers.heartbeat.IDLE_SECONDS", 0.0)
    settings = load_settings({}, control_seconds=0.02, stall_seconds=1.0)
    heartbeat = WorkerHeartbeat(settings, database, ALICE)
    ended: list[int] = []
    heartbeat.end_process = ended.append
    heartbeat.start()
    if busy:
        planned_job(database, examples=2)
        held = claims.claim(database, ALICE, 60)
        assert held is not None
        heartbeat.hold(held)
    for done in range(3):
        assert listener.recv(100) == b"WATCHDOG=1"
        heartbeat.report_progress(done)
    until(lambda: ended)
    assert ended == [HUNG]
    drain(listener)
    time.sleep(0.3)
    assert drain(listener) == 0


def test_a_scheduler_speaks_while_its_rounds_end(
    listener: socket.socket, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the database is away; not while a round hangs."""
    settings = load_settings({}, home=tmp_path, tick_seconds=0.01)
    scheduler = Scheduler(settings, database, make_app(settings))
    hang, go_on, stop = threading.Event(), threading.Event(), threading.Event()

    def tick() -> None:
        if hang.is_set():
            go_on.wait(GENEROUS)
        raise UnavailableError("the database is away")

    monkeypatch.setattr(scheduler, "tick", tick)
    wait: Any = stop.wait
    monkeypatch.setattr(stop, "wait", lambda _seconds: wait(0.01))
    thread = threading.Thread(target=scheduler.run, args=(stop,), daemon=True)
    thread.start()
    for _ in range(3):
        assert listener.recv(100) == b"WATCHDOG=1"
    hang.set()
    time.sleep(0.3)
    drain(listener)
    time.sleep(0.3)
    assert drain(listener) == 0
    stop.set()
    go_on.set()
    thread.join(GENEROUS)
    assert not thread.is_alive()
