"""What an image runs, without torch: the same commands and health checks, in real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.ports import free_port

ROOT = Path(__file__).parents[2]
HIDDEN = "import sys\nfor name in ('torch', 'transformers'): sys.modules[name] = None\n"


class Image:
    """The environment of a container of web or scheduler, as far as a process can have it."""

    def __init__(self, folder: Path) -> None:
        (folder / "site").mkdir()
        # Python imports it at the start; None makes an import fail as if it were not installed.
        (folder / "site/sitecustomize.py").write_text(HIDDEN)
        (folder / "database-url").write_text(f"sqlite:///{folder}/data/headwise.sqlite\n")
        plain = {k: v for k, v in os.environ.items() if not k.startswith("HEADWISE_")}
        self.environment = {
            **plain,
            "PYTHONPATH": f"{folder / 'site'}{os.pathsep}{ROOT}",
            "HEADWISE_HOME": str(folder / "data"),
            "HEADWISE_DATABASE_URL_FILE": str(folder / "database-url"),
            "HEADWISE_HOST": "127.0.0.1",
            "HEADWISE_PORT": str(free_port()),
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
def image(tmp_path: Path) -> Iterator[Image]:
    image = Image(tmp_path)
    yield image
    for process in image.processes:
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


def test_web_and_scheduler_run_and_say_that_they_are_well(image: Image) -> None:
    status, said = image.run("headwise", "migrate")
    assert status == 0, said
    check = health_check("scheduler")
    assert image.run(*check)[0] == 1
    scheduler = image.start("headwise", "scheduler")
    image.becomes(0, *check)
    scheduler.terminate()
    assert scheduler.wait(timeout=60) == 0
    assert image.run(*check)[0] == 1

    check = health_check("web")
    assert image.run(*check)[0] == 1
    web = image.start("headwise", "web")
    image.becomes(0, *check)
    web.terminate()
    assert web.wait(timeout=60) == 0


def test_an_image_without_torch_has_no_worker_and_says_so(image: Image) -> None:
    image.run("headwise", "migrate")
    status, said = image.run("headwise", "worker", "--devices", "cpu")
    assert (status, said.count("\n")) == (2, 1)
    assert "needs torch" in said
    assert image.run(*health_check("worker"))[0] == 1
