"""The drill: a backup in the middle of a job, its restore elsewhere, and the same results.

It does what docs/howto/backup.md says, with real processes: a role that can only read makes the
backup of a database that has the SQL console's role, and an ordinary role restores it in a new
cluster.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from db.console.console import Console
from db.database import Database
from jobs.settings import load_settings
from scheduler.submission.submit import check, submit
from tests.chaos.arena import EXAMPLES, Arena
from tests.chaos.forge import ROOT, Forge
from tests.chaos.stacks import arena, missing_for, undisturbed
from tests.chaos.verdict import judge
from tests.helpers import services
from tests.helpers.environment import missing

WITH_PROGRAMS = os.pathsep.join(
    [str(Path(services.binary("pg_dump") or "/").parent), os.environ["PATH"]]
)


@pytest.mark.parametrize(
    "name", ["sqlite-embedded", pytest.param("postgresql-redis", marks=pytest.mark.services)]
)
def test_a_copy_taken_in_mid_job_goes_on_to_the_same_result(
    name: str, forge: Forge, tmp_path: Path
) -> None:
    if lacks := missing_for(name):
        missing(lacks)
    with arena(name, tmp_path / "stack", forge) as made, ExitStack() as stack:
        undisturbed(made, {"plain": {}})
        job, copy = taken_in_mid_job(made, tmp_path, read_only(made))
        stopped(made)
        move(made, stack, tmp_path)
        for file in made.home.glob("*.jsonl"):  # the texts of jobs are in the database
            file.unlink()
        run(made, "restore", str(copy))
        # The copy is of the middle, and holds; nobody waits for leases of the past.
        assert made.state(job) in ("running", "finalizing")
        half = made.rows(f"SELECT COUNT(*) FROM example_result WHERE job_id = {job}")[0][0]
        assert 0 < half < EXAMPLES
        assert made.rows("SELECT COUNT(*) FROM shard WHERE state = 'leased'") == [(0,)]
        made.wanted = (2, 2)
        for one in (job, job + 1):
            assert made.finish(one) == "succeeded"
            found = judge(made, one)
            assert not found.broken
            assert (found.lost, found.doubled, found.equal) == (0, 0, True)
        hashes = made.rows("SELECT result_hash FROM job ORDER BY id")
        assert set(hashes) == {(made.hashes["plain"],)}
        if made.server is not None:
            console_answers(made)


def taken_in_mid_job(made: Arena, folder: Path, url: str) -> tuple[int, Path]:
    """A backup of the time when a part of a job was done and another one waited.

    All workers stand still meanwhile: a backup may take longer than what is left of the job.
    """
    for number in range(10):
        job, copy = made.begin(), folder / f"copy{number}"
        behind = begin_another(made)
        stopped_in_time = all_workers_stopped(made, job)
        if stopped_in_time:
            own = made.environment
            made.environment = {**own, "PATH": WITH_PROGRAMS, "HEADWISE_DATABASE_URL": url}
            made.fork("backup", str(copy))
            made.environment = own
            assert made.during(copy.exists, 60), (made.home / "backup.log").read_text()
        made.recover()
        assert {made.finish(job), made.finish(behind)} == {"succeeded"}
        if stopped_in_time:
            return job, copy
    raise AssertionError("every job had ended before its workers were stopped")


def all_workers_stopped(made: Arena, job: int) -> bool:
    """Stop all workers in the middle of a job; whether it still is in its middle then."""

    def half_done() -> bool:
        query = f"SELECT COUNT(DISTINCT state = 'done') FROM shard WHERE job_id = {job}"
        return made.rows(query) == [(2,)]

    if not made.during(half_done):
        return False
    made.wanted = (2, 0)
    made.stop_for_good(*(pid for worker in made.workers for pid in made.family(worker)))
    return half_done()


def begin_another(made: Arena) -> int:
    """Submit a job with the same results as `Arena.begin`, which would give the one that runs."""
    raw = made.raw()
    raw["spec"]["integration"] = "gauss-legendre:4"
    return submit(check(raw, made.settings, made.database), made.database)


def run(made: Arena, *arguments: str, **environment: str) -> None:
    """Run a `headwise` command to its end."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("HEADWISE_")}
    given = {**plain, **made.environment, "PATH": WITH_PROGRAMS, **environment}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=given,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def read_only(made: Arena) -> str:
    """The address of a role for backups, beside that of the SQL console."""
    if made.server is None:
        return made.settings.database
    console = made.server.url.replace("postgres@", "postgres_console:secret@")
    run(made, "migrate", "--console-role", HEADWISE_CONSOLE_URL=console)
    administer(made.server, "CREATE ROLE backup LOGIN", "GRANT pg_read_all_data TO backup")
    return made.server.url.replace("postgres@", "backup@")


def stopped(made: Arena) -> None:
    """End everything, as before a restore."""
    made.wanted = (0, 0)
    for pid in [*made.workers, *made.schedulers]:
        made.signal(pid, 15)
    assert made.during(lambda: not made.workers and not made.schedulers, 60)
    made.database.close()


def move(made: Arena, stack: ExitStack, folder: Path) -> None:
    """Give a stack an empty database: a new file, or a database in a new cluster."""
    if made.server is None:
        url = f"sqlite:///{folder / 'new/headwise.sqlite'}"
    else:
        new = folder / "cluster"
        new.mkdir()
        for one in (new, *new.parents):  # the user postgres must get in
            one.chmod(one.stat().st_mode | 0o755)
        made.server = services.PostgreSQL(new)
        made.server.create()
        made.server.start()
        stack.callback(made.server.stop)
        made.server.await_answer()
        administer(
            made.server,
            "CREATE ROLE headwise LOGIN CREATEROLE",
            "CREATE DATABASE headwise OWNER headwise",
            "GRANT SET ON PARAMETER temp_file_limit, log_min_messages TO headwise",
        )
        url = made.server.url.replace("postgres@", "headwise@").replace("/postgres", "/headwise")
    made.environment["HEADWISE_DATABASE_URL"] = url
    made.settings = load_settings(made.environment)
    made.database = Database(url)


def administer(server: services.PostgreSQL, *statements: str) -> None:
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def console_answers(made: Arena) -> None:
    """The owner makes the console's role in the new cluster."""
    console = made.settings.database.replace("headwise@", "headwise_console:secret@")
    run(made, "migrate", "--console-role", HEADWISE_CONSOLE_URL=console)
    settings = made.settings.model_copy(update={"console_url": console})
    [(jobs,)] = made.rows("SELECT COUNT(*) FROM job")
    assert Console(settings).run("SELECT count(*) FROM jobs").rows == [(jobs,)]
