"""The units agree with docs/howto/deploy.md: users, folders, commands exist before their use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.main import COMMANDS
from jobs.settings import load_settings

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
SECTION = (
    (ROOT / "docs/howto/deploy.md")
    .read_text(encoding="utf-8")
    .split("## One machine, with systemd")[1]
)
STEPS = SECTION.split("```sh\n")[1].split("```")[0].splitlines()
ENVIRONMENT = dict(
    line.split("=", 1)
    for line in (ROOT / "deploy/systemd/headwise.env").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)


def settings_of(unit: Path) -> dict[str, str]:
    """The settings of a unit."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


def step(*words: str) -> int:
    """The place of the first step that has all of the words."""
    found = [place for place, line in enumerate(STEPS) if all(word in line for word in words)]
    assert found, words
    return found[0]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_of_an_environment_that_the_page_makes(unit: Path) -> None:
    (found,) = re.findall(r"(\S+)/bin/headwise (\w+)", settings_of(unit)["ExecStart"])
    environment, command = found
    assert step("python3 -m venv", environment) < step(f"{environment}/bin/pip install", "/cli")
    assert command in COMMANDS["Processes"] | COMMANDS["Installation"]
    assert step("/etc/systemd/system/", "*.service") < step("daemon-reload")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_what_a_unit_needs_is_made_before_the_first_command_runs(unit: Path) -> None:
    settings = settings_of(unit)
    first = step("headwise migrate")
    home = ENVIRONMENT["HEADWISE_HOME"]
    assert home == f"/var/lib/{settings['StateDirectory']}" == settings["WorkingDirectory"]
    user = settings["User"]
    assert step("useradd", f"--home-dir {home}", user) < step(f"-o {user}", home) < first
    assert settings["Group"] == user
    file = settings["EnvironmentFile"]
    assert step("install", str(Path(file).parent)) < step("install", Path(file).name) < first
    if not unit.with_suffix(".timer").exists():  # which has a page of its own
        assert step("enable", unit.stem) > first
    assert f". {file};" in STEPS[first]


def test_every_file_and_folder_that_a_setting_names_is_made() -> None:
    first = step("headwise migrate")
    for key, value in ENVIRONMENT.items():
        if key.endswith("_FILE"):
            assert step(f"tee {value}") < first
    for folder in ENVIRONMENT["HEADWISE_ALLOWED_FOLDERS"].split(":"):
        assert step("install -d", folder) < first
    texts = {key: value for key, value in ENVIRONMENT.items() if not key.endswith("_FILE")}
    assert load_settings(texts).migrate == "never"


def test_accounts_and_files_of_the_page_are_the_same_throughout() -> None:
    text = "\n".join(STEPS)
    assert set(re.findall(r"sudo -u (\w+)", text)) == {"postgres", "headwise"}
    assert step("createuser headwise") < step("createdb headwise", "--owner headwise")
    for name in re.findall(r"deploy/systemd/(\S+)", text):
        assert list((ROOT / "deploy/systemd").glob(name)), name
