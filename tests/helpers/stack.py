"""A real stack for tests: real processes, with short leases, on any database and broker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from db.database import Database
from jobs.settings import Settings, load_settings
from scheduler.submission.submit import check, submit
from tests.helpers.databases import sqlite_database
from tests.helpers.ports import free_port
from tests.helpers.services import Server
from tests.helpers.tiny import bert_folder, pairs_file
from tests.helpers.warm import Command


class Stack:
    """The processes of a test, their settings and their database."""

    def __init__(self, home: Path, *, database_url: str = "", **settings: object) -> None:
        self.environment = {
            "HEADWISE_HOME": str(home),
            "HEADWISE_PORT": str(free_port()),
            "HEADWISE_LEASE_SECONDS": "2",
            "HEADWISE_HEARTBEAT_SECONDS": "0.3",
            "HEADWISE_TICK_SECONDS": "0.1",
            "HEADWISE_SHARD_SECONDS": "10",
            "HEADWISE_THREADS": "1",
            **{f"HEADWISE_{key.upper()}": str(value) for key, value in settings.items()},
        }
        if database_url:
            self.environment["HEADWISE_DATABASE_URL"] = database_url
        self.settings: Settings = load_settings(self.environment)
        if not database_url:
            sqlite_database(home / "headwise.sqlite").close()
        self.database = Database(self.settings.database)
        self.database.migrate()
        self.home = home
        self.processes: list[subprocess.Popen[bytes] | Command] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes] | Command:
        """Start `headwise ARGUMENTS`; its output goes to a file in the data folder.

        `up` starts as for a user, and so do the commands that it starts; others start warm.
        """
        path = self.home / f"{arguments[0]}-{len(self.processes)}.log"
        plain = {k: v for k, v in os.environ.items() if not k.startswith("HEADWISE_")}
        environment = {**plain, **self.environment}
        process: subprocess.Popen[bytes] | Command
        if arguments[0] == "up":
            with path.open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "cli.main", *arguments],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    cwd=Path(__file__).parents[2],
                )
        else:
            process = Command(arguments, environment, path)
        self.processes.append(process)
        return process

    def start_scheduler_and_worker(self) -> None:
        """Start what computes jobs."""
        self.start("scheduler")
        self.start("worker")

    def submit(self, examples: int, **spec: Any) -> int:
        """Submit a job on a tiny model; returns its number."""
        model, data = self.home / "models/tiny", self.home / f"pairs-{examples}.jsonl"
        if not model.exists():
            bert_folder(model, layers=4)
        raw = {
            "spec": {
                "model": {"name": str(model)},
                "data": {
                    "path": str(pairs_file(data, examples)),
                    "text_columns": ["premise", "hypothesis"],
                    "label_column": "label",
                },
                **({} if "kind" in spec else {"integration": "gauss-legendre:8"}),
                **spec,
            },
            "queue": self.settings.queue,
        }
        return submit(check(raw, self.settings, self.database), self.database)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with self.database.read() as tx:
            return [tuple(row) for row in tx.run(statement)]

    def wait_for(self, statement: str, expected: object, seconds: float = 90) -> None:
        """Wait until the first column of the first row is what is expected."""
        self.until(lambda: self.rows(statement)[:1] == [(expected,)], statement, seconds)

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 90) -> None:
        """Wait until something holds; on a time-out fail with the logs."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-3000:] for path in self.home.glob("*.log"))
                raise AssertionError(f"timed out waiting for {what}\n{logs}")
            time.sleep(0.05)

    def worker_pid(self) -> int:
        """Process id of the computing child of the newest worker."""
        return int(self.rows("SELECT pid FROM worker ORDER BY started_at DESC LIMIT 1")[0][0])

    def stop(self) -> None:
        """Kill everything: a gentle end is a test of its own."""
        for process in self.processes:
            for pid in [process.pid, *children_of(process.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        self.database.close()


def exactly_once(stack: Stack, job: int, examples: int) -> None:
    """The invariants of a finished job."""
    where = f"WHERE job_id = {job}"
    assert stack.rows(f"SELECT state, examples_done FROM jobs {where}") == [("succeeded", examples)]
    counts = f"SELECT COUNT(*), COUNT(DISTINCT example_no) FROM example_result {where}"
    assert stack.rows(counts) == [(examples, examples)]
    heads = stack.rows(f"SELECT SUM(heads) FROM sites {where}")[0][0]
    assert stack.rows(f"SELECT COUNT(*) FROM head_scores {where}") == [(examples * heads,)]
    assert stack.rows(f"SELECT DISTINCT n FROM head_importance {where}") == [(examples,)]
    fences = stack.rows(f"SELECT SUM(fence) FROM shards {where}")
    assert fences == stack.rows(f"SELECT COUNT(*) FROM attempts {where}")
    winners = (
        "SELECT COUNT(*) FROM example_result r JOIN shard s ON s.job_id = r.job_id "
        "AND r.example_no >= s.lo AND r.example_no < s.hi AND r.fence <> s.fence "
        f"WHERE r.job_id = {job}"
    )
    assert stack.rows(winners) == [(0,)]


def alive(pids: Sequence[int]) -> list[int]:
    """Those of the processes that still run."""
    found = []
    for pid in pids:
        # It may end between the two looks.
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(pid, 0)
            status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            if status != "Z":
                found.append(pid)
    return found


def children_of(pid: int) -> list[int]:
    """Every descendant of a process."""
    listed: list[int] = []
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        direct = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        listed = [int(child) for child in direct.split()]
    return [*listed, *(inner for child in listed for inner in children_of(child))]


@contextlib.contextmanager
def frozen(server: Server | None) -> Iterator[None]:
    """Stop all processes of a server: connections are accepted by the kernel, and nothing comes."""
    assert server is not None
    assert server.process is not None
    first = server.process.pid
    send(first, signal.SIGSTOP)  # it starts the others
    stopped = [first, *children_of(first)]
    for pid in stopped:
        send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(stopped):
            send(pid, signal.SIGCONT)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
