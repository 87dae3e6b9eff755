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
from jobs.settings import load_settings
from tests.inputs import data_file, model_folder


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which must be one JSON value."""
        return json.loads(self.out)


Headwise = Callable[..., Ran]


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
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def headwise(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Headwise]:
    """Runs `headwise ARGUMENTS` as the installed command would."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["headwise", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        output = capfd.readouterr()
        return Ran(int(ended.value.code or 0), output.out, output.err)

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield run
    # Commands that start a process configure its logs.
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def store(home: Path) -> Iterator[Database]:
    """The database behind the command."""
    database = Database(load_settings().database)
    database.migrate()
    yield database
    database.close()
