"""Help, completion, and readers that go away."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli.lazy import load
from cli.main import COMMANDS, ELSEWHERE
from db.accounts import tokens
from db.accounts.tokens import Scope
from tests.cli.conftest import Headwise
from tests.webui.accounts.people import open_lab

NAMES = [name for names in COMMANDS.values() for name in names]
HEAVY = "alembic celery flask kombu numpy pandas pyarrow sqlalchemy structlog torch transformers"
"""Libraries that take long to import, which help and requests to a server do not need."""


def test_help_names_every_command(headwise: Headwise) -> None:
    ran = headwise("--help")
    assert (ran.status, ran.err) == (0, "")
    listed = [line.split()[1] for line in ran.out.splitlines() if line.startswith("│ ")]
    assert listed[-len(NAMES) :] == NAMES


@pytest.mark.parametrize("command", NAMES)
def test_every_command_explains_itself(headwise: Headwise, command: str) -> None:
    ran = headwise(command, "--help")
    assert ran.status == 0
    assert f" {command} [OPTIONS]" in ran.out.splitlines()[1]


@pytest.mark.parametrize("panel", COMMANDS)
def test_help_says_of_a_command_what_it_says_of_itself(headwise: Headwise, panel: str) -> None:
    """Its first paragraph is read without importing it."""
    listed = " ".join(headwise("--help").out.replace("│", " ").split())
    for name, place in COMMANDS[panel].items():
        said = load(name, place, panel).help.partition("\n\n")[0]
        assert f" {name} {' '.join(said.split())}" in listed


def imported(*arguments: str, among: str = HEAVY) -> set[str]:
    """The libraries among these that a command imports in a process of its own."""
    script = (
        "import atexit, sys, cli.main\n"
        f"found = lambda: sys.modules.keys() & {among!r}.split()\n"
        "atexit.register(lambda: print(*found(), file=sys.stderr))\n"
        "cli.main.main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(ran.stderr.split())


def test_the_release(headwise: Headwise) -> None:
    ran = headwise("--version")
    assert (ran.status, ran.out) == (0, f"headwise {version('headwise')}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["whoami"]], ids=" ".join)
def test_help_imports_nothing_heavy(home: Path, arguments: list[str]) -> None:
    assert imported(*arguments) == set()
    assert "pydantic" not in imported("--help", among="pydantic")  # typer brings it to a command


@pytest.mark.parametrize("panel", ELSEWHERE)
def test_commands_that_work_on_a_server_import_nothing_heavy(home: Path, panel: str) -> None:
    script = (
        "import sys\nfrom cli.lazy import load\n"
        f"for name, place in {COMMANDS[panel]!r}.items(): load(name, place, '')\n"
        f"print(*sys.modules.keys() & {HEAVY!r}.split())"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_a_request_to_a_server_imports_nothing_heavy(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_lab(tmp_path / "server") as lab:
        token = tokens.make(lab.database, lab.add("Ada"), "test", Scope.READ, 1)[1]
        monkeypatch.setenv("HEADWISE_SERVER", lab.address)
        monkeypatch.setenv("HEADWISE_TOKEN", token)
        assert imported("jobs") == set()
    monkeypatch.delenv("HEADWISE_SERVER")
    assert "sqlalchemy" in imported("jobs")  # of this machine's database, which is made
    assert imported("jobs") == {"sqlalchemy"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_complete(home: Path, shell: str) -> None:
    """Asked as a shell does: through the environment of a real process."""
    headwise = Path(sys.executable).with_name("headwise")
    ask = {
        "_HEADWISE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "headwise sc",
        "COMP_CWORD": "1",
    }
    ask |= {"_TYPER_COMPLETE_ARGS": "headwise sc", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    ran = subprocess.run(
        [headwise], env=os.environ | ask, capture_output=True, text=True, check=True
    )
    assert "scheduler" in ran.stdout
    assert "schema" in ran.stdout
    assert "submit" not in ran.stdout


def test_a_reader_that_goes_away_is_no_error(home: Path) -> None:
    command = f"{Path(sys.executable).with_name('headwise')} schema | true"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
