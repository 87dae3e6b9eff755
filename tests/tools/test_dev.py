"""`make dev` restarts what a change of code concerns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.supervisor import Child
from tools import dev


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the children in the order in which they are started; code in `tmp_path`."""
    names: list[str] = []
    for folder in ("pages", "code"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "old.py").touch()
    monkeypatch.setattr(dev, "PAGES", tmp_path / "pages")
    monkeypatch.setattr(dev, "CODE", [tmp_path / "code"])
    monkeypatch.setattr(Child, "start", lambda child: names.append(child.name))
    return names


@pytest.fixture
def supervisor(started: list[str]) -> dev.DevelopmentSupervisor:
    names = ("scheduler", "dashboard", "worker 1")
    return dev.DevelopmentSupervisor([Child(name=name, arguments=[]) for name in names])


def test_a_changed_page_restarts_the_dashboard(
    supervisor: dev.DevelopmentSupervisor, started: list[str], tmp_path: Path
) -> None:
    supervisor.restart_changed()
    assert started == []
    (tmp_path / "pages/new.html").touch()
    supervisor.restart_changed()
    supervisor.restart_changed()
    assert started == ["dashboard"]


def test_changed_code_restarts_everything(
    supervisor: dev.DevelopmentSupervisor, started: list[str], tmp_path: Path
) -> None:
    os.utime(tmp_path / "code/old.py", (2e9, 2e9))
    supervisor.restart_changed()
    assert started == ["scheduler", "dashboard", "worker 1"]


def test_other_files_restart_nothing(
    supervisor: dev.DevelopmentSupervisor, started: list[str], tmp_path: Path
) -> None:
    (tmp_path / "code/notes.txt").touch()
    supervisor.restart_changed()
    assert started == []


def test_the_folders_of_the_product_are_watched() -> None:
    assert dev.newest([dev.PAGES])[0] > 50
    assert all(folder.is_dir() for folder in dev.CODE)
