"""Images without the packages that they do not have run the same commands and health
checks, in real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.test_confinement import locked
from tests.helpers.inputs import data_file
from tests.helpers.ports import free_port
from tests.helpers.tiny import bert_folder

ROOT = Path(__file__).parents[2]
HIDDEN = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec
absent = frozenset({})
PathFinder.find_spec = lambda name, *more: None if name in absent else find(name, *more)
"""
OF_THIS_MACHINE = {"pytest-cov", "coverage", "setuptools", "pip"}
"""Modules that a process may have beside the packages of an image."""


def hidden(role: str) -> list[str]:
    """The modules of this machine that the image of a role does not have."""
    kept = locked("common").keys() | locked(role).keys() | OF_THIS_MACHINE
    if role == "worker":
        kept |= with_dependencies("torch")
    return [
        module
        for module, packages in packages_distributions().items()
        if not {canonicalize_name(one) for one in packages} & kept
        and module not in sys.stdlib_module_names
        and not module.startswith("_")
        and not (ROOT / module).is_dir()
    ]


def with_dependencies(package: str) -> set[str]:
    """The name of an installed package and of everything that it requires."""
    found: set[str] = set()
    left = [package]
    while left:
        name = canonicalize_name(left.pop())
        if name not in found:
            found.add(name)
            needs = map(Requirement, requires(name) or ())
            left += [one.name for one in needs if not one.marker or one.marker.evaluate()]
    return found


class Image:
    """The environment of a container of a role, as far as a process can have it."""

    def __init__(self, folder: Path, role: str) -> None:
        site = folder / f"site-{role}"
        site.mkdir()
        # Python imports it at the start.
        (site / "sitecustomize.py").write_text(HIDDEN.format(hidden(role)))
        (folder / "database-url").write_text(f"sqlite:///{folder}/data/headwise.sqlite\n")
        plain = {k: v for k, v in os.environ.items() if not k.startswith("HEADWISE_")}
        self.environment = {
            **plain,
            "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
            "HEADWISE_HOME": str(folder / "data"),
            "HEADWISE_DATABASE_URL_FILE": str(folder / "database-url"),
            "HEADWISE_HOST": "127.0.0.1",
            "HEADWISE_PORT": str(free_port()),
            "HEADWISE_ALLOWED_FOLDERS": str(folder),
            "HEADWISE_TRUSTED_HOSTS": "headwise.example.org",
            "HEADWISE_MIGRATE": "never",
            "HEADWISE_HEARTBEAT_SECONDS": "0.3",
            "HEADWISE_TICK_SECONDS": "0.1",
        }
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command; `headwise` and `python` are those of this environment."""
        program = {"headwise": ["-m", "cli.main"], "python": []}[command[0]]
        process = subprocess.Popen(
            [sys.executable, *program, *command[1:]],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def run(self, *command: str) -> tuple[int, str]:
        """Status and output of a command."""
        process = self.start(*command)
        out, err = process.communicate(timeout=120)
        return process.returncode, out + err

    def becomes(self, status: int, *command: str) -> None:
        """Run a health check until it has that status."""
        deadline = time.monotonic() + 90
        while (found := self.run(*command))[0] != status:
            assert time.monotonic() < deadline, found
            time.sleep(0.2)


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Callable[[str], Image]]:
    """Make the image of a role; all of them share data and settings."""
    made: list[Image] = []

    def make(role: str) -> Image:
        made.append(Image(tmp_path, role))
        return made[-1]

    yield make
    for process in (process for one in made for process in one.processes):
        process.kill()
        process.communicate()


def health_check(target: str) -> list[str]:
    """The HEALTHCHECK of a target of the Dockerfile."""
    text = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
    stage = re.search(rf"(?ms)^FROM \S+ AS {target}$(.*?)(?=^FROM|\Z)", text)
    assert stage
    check = re.search(r"(?ms)^HEALTHCHECK .*?CMD (\[.*?\])$", stage[1])
    assert check
    return list(json.loads(check[1]))


def test_web_and_scheduler_run_and_say_that_they_are_well(
    image: Callable[[str], Image],
) -> None:
    web, scheduler = image("web"), image("scheduler")
    status, said = scheduler.run("headwise", "migrate")
    assert status == 0, said
    check = health_check("scheduler")
    assert scheduler.run(*check)[0] == 1
    process = scheduler.start("headwise", "scheduler")
    scheduler.becomes(0, *check)
    process.terminate()
    assert process.wait(timeout=60) == 0
    assert scheduler.run(*check)[0] == 1

    check = health_check("web")
    assert web.run(*check)[0] == 1
    process = web.start("headwise", "web")
    web.becomes(0, *check)
    process.terminate()
    assert process.wait(timeout=60) == 0


def test_a_job_goes_through_the_images(image: Callable[[str], Image], tmp_path: Path) -> None:
    """Submitted, planned and computed where only that role's packages are; exported as Parquet."""
    bert_folder(tmp_path / "model", layers=1)
    data_file(tmp_path / "pairs.jsonl")
    web, scheduler, worker = image("web"), image("scheduler"), image("worker")
    assert scheduler.run("headwise", "migrate")[0] == 0
    asked = ("--model", f"{tmp_path}/model", "--data", f"{tmp_path}/pairs.jsonl")
    status, said = web.run("headwise", "submit", *asked, "--text", "premise,hypothesis")
    assert status == 0, said
    scheduler.start("headwise", "scheduler")
    status, said = worker.run("headwise", "worker", "--drain")
    assert status == 0, said
    assert web.run("headwise", "watch", "1")[0] == 0
    table = ("export", "1", "--table", "head_scores", "--to", str(tmp_path / "scores.parquet"))
    assert web.run("headwise", *table)[0] == 0
    status, said = worker.run("headwise", *table)
    assert (status, said.count("\n")) == (2, 1)
    assert "has no pyarrow" in said


def test_an_image_of_another_role_says_what_it_lacks(image: Callable[[str], Image]) -> None:
    scheduler = image("scheduler")
    scheduler.run("headwise", "migrate")
    status, said = scheduler.run("headwise", "worker", "--devices", "cpu")
    assert (status, said.count("\n")) == (2, 1)
    assert "needs torch" in said
    assert scheduler.run(*health_check("worker"))[0] == 1
    status, said = scheduler.run("headwise", "web")
    assert (status, said.splitlines()[-1].startswith("headwise: ")) == (2, True)
    assert "has no uvicorn" in said
