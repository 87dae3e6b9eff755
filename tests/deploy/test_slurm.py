"""The SLURM array, with a stand-in for srun that does what srun does with its command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.database import Database
from db.reads import jobs as job_reads
from jobs.states import JobState
from tests.helpers.inputs import data_file
from tests.helpers.tiny import bert_folder

ROOT = Path(__file__).parents[2]


class Cluster:
    """A node with the script's settings, and the machine that the scheduler runs on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, line in {
            "srun": 'exec "$@"',
            "headwise": f'exec {sys.executable} -m cli.main "$@"',
        }.items():
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\n{line}\n")
            program.chmod(0o755)
        home = folder / "home/.config/headwise"
        home.mkdir(parents=True)
        self.address = f"sqlite:///{folder}/headwise.sqlite"
        (home / "database-url").write_text(self.address)
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWISE_", "SLURM_"))}
        self.environment = {
            **plain,
            "HOME": str(folder / "home"),
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SLURM_JOB_ID": "7",
            "DEVICES": "cpu",
            "SLURM_TMPDIR": str(folder / "scratch"),
            "HEADWISE_ALLOWED_FOLDERS": str(folder),
        }
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *command: str, **changes: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            env={**self.environment, **changes},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def task(self, **changes: str) -> subprocess.Popen[str]:
        """Start a task of the array."""
        return self.start("bash", str(ROOT / "deploy/slurm/headwise-array.sh"), **changes)

    def headwise(self, *command: str) -> subprocess.Popen[str]:
        """Start a command on the machine of the scheduler."""
        home = {"HEADWISE_HOME": str(self.folder), "HEADWISE_DATABASE_URL": self.address}
        return self.start("headwise", *command, **home)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    for process in cluster.processes:
        process.kill()
        process.communicate()


def test_tasks_of_the_array_compute_a_job_and_end(cluster: Cluster, tmp_path: Path) -> None:
    bert_folder(tmp_path / "model", layers=1)
    data_file(tmp_path / "pairs.jsonl")
    given = (
        "--model",
        f"{tmp_path}/model",
        "--data",
        f"{tmp_path}/pairs.jsonl",
        "--text",
        "premise",
    )
    assert cluster.headwise("submit", *given, "--queue", "gpu").wait(120) == 0
    cluster.headwise("scheduler")
    tasks = [cluster.task(HEADWISE_QUEUES="gpu") for _ in range(2)]
    for task in tasks:
        _, said = task.communicate(timeout=240)
        assert task.returncode == 0, said
    database = Database(cluster.address)
    assert job_reads.get_job(database, 1).state is JobState.SUCCEEDED
    workers = database.rows("SELECT queue FROM worker")
    assert {row["queue"] for row in workers} == {"gpu"}
    database.close()


def test_a_task_ends_when_slurm_says_that_the_limit_comes(cluster: Cluster, tmp_path: Path) -> None:
    database = Database(cluster.address)
    database.migrate()
    task = cluster.task()
    while not database.value("SELECT COUNT(*) FROM worker"):  # limited by the test's own time
        assert task.poll() is None, task.communicate()[1]
    task.send_signal(signal.SIGUSR1)
    assert task.wait(120) == 0
    database.close()
