"""The command in this process, on a data folder of the test's own."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from cli.main import main
from db.database import Database
from db.queue import claims, lifecycle
from db.results import commit as results
from tests.helpers.databases import sqlite_database
from tests.helpers.inputs import data_file, model_folder
from tests.helpers.jobs import ALICE, completed, planned_job


@dataclass(frozen=True)
class Ran:
    """The end of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, which must be one JSON value."""
        return json.loads(self.out)


Headwise = Callable[..., Ran]

GPUS = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder, with a model and a data file; the current folder is its parent."""
    for key in [key for key in os.environ if key.startswith("HEADWISE_")]:
        monkeypatch.delenv(key)
    folder = tmp_path / "home"
    model_folder(folder / "model")
    data_file(folder / "pairs.jsonl")
    monkeypatch.setenv("HEADWISE_HOME", str(folder))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def restored_logs() -> Iterator[None]:
    """Logs as they were: commands that start a process configure its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def headwise(
    home: Path,
    restored_logs: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Headwise:
    """Runs `headwise ARGUMENTS` as the installed command would."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["headwise", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        output = capfd.readouterr()
        return Ran(int(ended.value.code or 0), output.out, output.err)

    return run


@pytest.fixture
def store(home: Path) -> Iterator[Database]:
    """The database behind the command."""
    database = sqlite_database(home / "headwise.sqlite")
    yield database
    database.close()


def finished_job(database: Database, failed: frozenset[int] = frozenset()) -> int:
    """A job of six examples, computed."""
    job = planned_job(database)
    while held := claims.claim(database, ALICE, 60):
        inside = frozenset(n for n in failed if held.lo <= n < held.hi)
        assert results.commit_shard(database, held, completed(held.lo, held.hi, inside), "m")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)
    return job


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Output of `nvidia-smi -L` on this machine: the content of a file."""
    program, listed = tmp_path / "bin/nvidia-smi", tmp_path / "gpus"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$*" = -L ] && cat "{listed}"\n')
    program.chmod(0o755)
    listed.write_text(GPUS)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return listed
