"""The supervisor: children that die, fail, or end by themselves."""

from __future__ import annotations

import socket
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from cli import supervisor
from cli.supervisor import Child, Supervisor
from db.views import schema_page
from jobs.processes import systemd
from jobs.settings import FAILURES


class Stop(supervisor.threading.Event):
    """Set once the supervisor has looked at its children this often."""

    def __init__(self, children: list[Child], starts: int) -> None:
        super().__init__()
        self.children, self.starts, self.pids = children, starts, set[int]()

    def wait(self, timeout: float | None = None) -> bool:
        for child in self.children:
            if child.process is not None:
                self.pids.add(child.process.pid)
                child.process.wait(timeout=60)
        if len(self.pids) >= self.starts:
            self.set()
        return super().wait(timeout)


def test_the_supervisor_starts_a_child_again_that_ended(home: Path, tmp_path: Path) -> None:
    child = Child(name="worker 1", arguments=["schema"], log_folder=tmp_path / "logs")
    supervised = Supervisor([child])
    supervised.stop = Stop([child], starts=2)
    supervised.supervise()
    assert len(supervised.stop.pids) == 2
    assert (tmp_path / "logs/worker-1.log").read_text() == schema_page() * 2


def test_a_child_that_keeps_dying_is_started_ever_more_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: now)
    starts: list[float] = []
    child = Child(name="x", arguments=[])

    def start() -> None:
        starts.append(now)
        child.started_at = now
        child.process = subprocess.Popen(["true"])
        child.process.wait()

    monkeypatch.setattr(child, "start", start)
    while len(starts) < 9:
        child.check()
        now += 0.5
    gaps = [after - before for before, after in pairwise(starts)]
    assert gaps == sorted(gaps)
    assert gaps[0] <= 2.0
    assert 30.0 <= gaps[-1] <= 31.0


def test_a_child_that_keeps_failing_is_an_error_and_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crash loop was a warning among others, and the status 0."""
    started: list[dict[str, str]] = []

    class Failed(subprocess.Popen[bytes]):
        def __init__(self, *_: object, env: dict[str, str], **__: object) -> None:
            started.append(env)
            super().__init__(["false"])
            self.wait()

    monkeypatch.setattr(supervisor.subprocess, "Popen", Failed)
    child = Child(name="worker 1", arguments=["worker"])
    supervised = Supervisor([child])
    for failures in range(1, 6):
        child.retry_at = 0
        supervised.check()  # starts it
        supervised.check()  # and sees that it has ended
        assert supervised.status == int(failures >= 3)
    assert [int(env[FAILURES]) for env in started] == [0, 1, 2, 3, 4]
    assert capsys.readouterr().out.count("keeps failing") == 3
    child.retry_at = 0
    supervised.check()
    child.started_at -= 61  # it lived for a while
    supervised.check()
    assert supervised.status == 0


def ended(monkeypatch: pytest.MonkeyPatch, *programs: str) -> list[Child]:
    """Children of a supervisor, whose command is a program that ends at once."""
    children = [Child(name=name, arguments=[], once=True) for name in programs]
    for child, program in zip(children, programs, strict=True):

        def start(child: Child = child, program: str = program) -> None:
            child.process = subprocess.Popen([program])
            child.started_at = supervisor.time.monotonic()

        monkeypatch.setattr(child, "start", start)
    return children


def test_a_supervisor_ends_with_its_last_child(monkeypatch: pytest.MonkeyPatch) -> None:
    children = ended(monkeypatch, "true", "true")
    Supervisor(children).supervise()
    assert [child.status for child in children] == [0, 0]


def test_a_child_that_fails_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    children = ended(monkeypatch, "true", "false")
    monkeypatch.setattr(supervisor.signal, "signal", lambda *_: None)
    assert Supervisor(children).run() == 1
    assert [(child.status, child.failures) for child in children] == [(0, 1), (1, 3)]


def test_systemd_hears_from_a_supervisor_whose_children_all_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A child that falls silent keeps it silent; one that never spoke or has ended does not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv(systemd.SOCKET, str(tmp_path / "notify"))
        children = [Child(name=name, arguments=[]) for name in ("0", "1", "dashboard")]
        supervised = Supervisor(children)
        for child in children:
            monkeypatch.setattr(child, "start", lambda: None)
            child.process = subprocess.Popen(["sleep", "600"])

        def told(*speaking: Child) -> bool:
            """Return True if systemd hears something when these children have gone on."""
            for child in speaking:
                assert child.relay is not None
                with monkeypatch.context() as other:
                    other.setenv(systemd.SOCKET, child.relay.name)
                    systemd.went_on()
            supervised.check()
            try:
                return manager.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                return False

        first, second, _ = children
        assert told()
        assert told(first, second)
        assert not told(first)
        assert not told(first)
        assert told(second)
        assert not told(first)
        assert second.process is not None
        second.process.kill()
        second.process.wait()
        assert told(first)
        supervised.shut_down()
