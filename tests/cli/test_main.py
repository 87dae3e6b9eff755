"""Help, completion, and readers that go away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Headwise

COMMANDS = (
    "up worker scheduler web migrate health submit study jobs watch cancel pause resume sql export "
    "prune schema doctor"
)


def test_help_names_every_command(headwise: Headwise) -> None:
    ran = headwise("--help")
    assert ran.status == 0
    assert ran.err == ""
    listed = [line.split()[1] for line in ran.out.splitlines() if line.startswith("│ ")]
    assert set(COMMANDS.split()) <= set(listed)


@pytest.mark.parametrize("command", [*COMMANDS.split(), "delete"])
def test_every_command_explains_itself(headwise: Headwise, command: str) -> None:
    ran = headwise(command, "--help")
    assert ran.status == 0
    assert f" {command} [OPTIONS]" in ran.out.splitlines()[1]


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
