"""A rolling upgrade with real processes: the oldest code that may still run, beside today's."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.upgrades import OLDEST_CODE, known_revisions
from tests.helpers.environment import missing
from tests.helpers.stack import Stack, exactly_once
from tests.helpers.tiny import bert_folder, pairs_file

ROOT = Path(__file__).parents[2]
STATE = "SELECT state FROM jobs WHERE job_id = {}"
DONE = "SELECT COUNT(*) > 0 FROM shards WHERE job_id = {} AND state = 'done'"
RAN = (
    "SELECT DISTINCT w.queue FROM attempts a JOIN worker w ON w.name = a.worker WHERE a.job_id = {}"
)


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def oldest() -> str:
    """The commit of the oldest code that may run beside this one.

    The last before the migration that follows OLDEST_CODE; where none does, the first that had
    OLDEST_CODE.
    """
    later = known_revisions()[known_revisions().index(OLDEST_CODE) + 1 :]
    wanted = later[0] if later else OLDEST_CODE
    (file,) = (ROOT / "db/migrations/versions").glob(f"{wanted}_*.py")
    added = git("log", "--diff-filter=A", "--format=%H", "-1", "--", str(file)).decode().strip()
    return f"{added}^" if added and later else added


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The other code, unpacked."""
    try:
        commit = oldest()
        packed = git("archive", commit) if commit else b""
    except (OSError, subprocess.CalledProcessError):
        packed = b""
    if not packed:
        missing("the history of the repository")
    folder = tmp_path / "older"
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def stack(tmp_path: Path, empty_postgres_url: str) -> Iterator[Stack]:
    """Settings on an empty database."""
    home = tmp_path / "home"
    home.mkdir()
    stack = Stack(home, database_url=empty_postgres_url, shard_seconds=0.2, lease_seconds=30)
    with stack.database.write() as tx:
        tx.run("DROP SCHEMA public CASCADE")
        tx.run("CREATE SCHEMA public")
    yield stack
    stack.stop()


def run_older(stack: Stack, older: Path, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
    """Start `headwise ARGUMENTS` of the older code."""
    known = (older / "jobs/settings.py").read_text(encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWISE_")}
    for key, value in stack.environment.items():
        if f"    {key.removeprefix('HEADWISE_').lower()}:" in known:
            environment[key] = value
    with (stack.home / f"older-{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", *arguments],
            env={**environment, **more, "PYTHONPATH": str(older)},
            stdout=log,
            stderr=log,
            cwd=older,
        )
    stack.processes.append(process)
    return process


@pytest.mark.services
@pytest.mark.timeout(900)
def test_older_processes_go_on_while_newer_ones_join(stack: Stack, older: Path) -> None:
    model, data = bert_folder(stack.home / "model", layers=4), stack.home / "pairs.jsonl"
    pairs_file(data, 120)
    job = ["--model", str(model), "--data", str(data), "--text", "premise,hypothesis"]
    job += ["--integration", "gauss-legendre:32"]
    submitted = run_older(stack, older, "submit", *job, HEADWISE_QUEUE="older")
    assert submitted.wait(timeout=240) == 0
    assert stack.rows("SELECT version_num FROM alembic_version") == [(OLDEST_CODE,)]
    for command in ("scheduler", "worker"):
        run_older(stack, older, command, HEADWISE_QUEUE="older")
    stack.wait_for(DONE.format(1), True, 240)

    stack.database.migrate()
    stack.environment["HEADWISE_QUEUE"] = "newer"
    for command in ("scheduler", "worker"):
        stack.start(command)
    later = ((2, 40, "older"), (3, 42, "newer"))
    for number, examples, queue in later:
        stack.settings = stack.settings.model_copy(update={"queue": queue})
        assert stack.submit(examples) == number
    for number, examples, queue in ((1, 120, "older"), *later):
        stack.wait_for(STATE.format(number), "succeeded", 240)
        exactly_once(stack, number, examples)
        assert stack.rows(RAN.format(number)) == [(queue,)]
    assert stack.rows("SELECT SUM(errors), SUM(losses) FROM shards") == [(0, 0)]
