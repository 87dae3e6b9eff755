"""A stack to be disturbed, the jobs that run on it, and the wait for their end."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from db.database import Database
from jobs.errors import ConflictError, UnavailableError
from scheduler.submission.control import control
from scheduler.submission.submit import check, submit
from tests.chaos.forge import Forge
from tests.chaos.log_lines import LogLines
from tests.chaos.network import Network
from tests.chaos.processes import Processes
from tests.chaos.watch import Watch
from tests.helpers import services

EXAMPLES = 48
PATIENCE = 120.0
"""Seconds that a job may take, however disturbed, on a machine that is busy with other things."""
FINAL = ("succeeded", "failed", "cancelled")


def impatient(url: str) -> Database:
    """A database that waits for SQLite's write lock no longer than a second: then sleepers go."""
    database = Database(url)
    if database.dialect == "sqlite":

        @event.listens_for(database.engine, "connect")
        def ask_often(connection: Any, _: object) -> None:
            connection.execute("PRAGMA busy_timeout = 1000")

    return database


class Arena(Processes):
    """The processes of a stack and its jobs."""

    def __init__(self, home: Path, forge: Forge, *, database_url: str = "", **more: object) -> None:
        super().__init__(home, forge, database_url=database_url, **more)
        self.broker: services.Server | None = None
        self.server: services.PostgreSQL | None = None
        self.disk: Path | None = None
        """A small file system that the database lies on."""
        self.network: Network | str = ""
        """A network of its own, from which the servers can be reached; else what it lacks."""
        self.hashes: dict[str, str] = {}
        self.name = ""
        self.database.close()
        self.database = impatient(self.settings.database)
        self.watch = Watch(self)
        self.logs = LogLines(home)

    def recover(self) -> None:
        """End the faults that last until the round ends."""
        self.wanted = (2, 2)
        if isinstance(self.network, Network):
            self.network.heal()
        self.bury()

    def reset(self) -> None:
        """After a failed round: new processes, and no job left that would be taken for the next."""
        self.recover()
        for pid in [*self.workers, *self.schedulers]:
            self.kill(pid)
        self.forget()
        self.tend()
        final = ", ".join(f"'{state}'" for state in FINAL)
        for (job,) in self.rows(f"SELECT id FROM job WHERE state NOT IN ({final})"):
            self.ask(job, "cancel")
            self.finish(job)
        self.watch.complaints()
        self.logs.read()

    def raw(self, name: str = "", bad: dict[int, str] | None = None) -> dict[str, Any]:
        """A submission: a tiny model, and texts of which some hold a bad word."""
        model, shape = self.home / "models/tiny", "-".join(sorted((bad or {}).values())) or "plain"
        data = self.home / f"{shape}.jsonl"
        if not model.exists():
            from tests.helpers.tiny import bert_folder  # torch: only for the process that makes it

            bert_folder(model)
        if not data.exists():
            rows = (
                {"premise": f"text {n} {(bad or {}).get(n, '')}", "hypothesis": f"second {n * n}"}
                for n in range(EXAMPLES)
            )
            data.write_text("\n".join(json.dumps(row) for row in rows))
        return {
            "spec": {
                "model": {"name": str(model)},
                "data": {"path": str(data), "text_columns": ["premise", "hypothesis"]},
                "integration": "gauss-legendre:8",
            },
            "queue": self.settings.queue,
            "again": True,
            "name": name or shape,
        }

    def begin(self, bad: dict[int, str] | None = None) -> int:
        """Submit a job."""
        raw = self.raw(bad=bad)
        return self.patiently(
            lambda: submit(check(raw, self.settings, self.database), self.database)
        )

    def patiently(self, work: Callable[[], Any]) -> Any:
        """Do something to a database that may be away, or to a file of SQLite's that is locked."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return work()
            except (UnavailableError, sqlite3.OperationalError):
                if time.monotonic() > deadline:
                    raise
                self.let_sleepers_go()  # one of them may hold SQLite's write lock
                time.sleep(0.1)

    def ask(self, job: int, action: str) -> bool:
        """Pause, resume, cancel or delete; whether the job's state allowed it."""
        try:
            self.patiently(lambda: control(self.database, job, action))
        except ConflictError:
            return False
        return True

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of a query, waiting for a database that is away."""
        plain = super().rows
        return list(self.patiently(lambda: plain(statement)))

    def execute(self, statement: str) -> None:
        """Change something directly."""

        def work() -> None:
            with self.database.write() as tx:
                tx.run(statement)

        self.patiently(work)

    def state(self, job: int) -> str:
        """The job's state."""
        return str(self.rows(f"SELECT state FROM job WHERE id = {job}")[0][0])

    def during(self, holds: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Wait for something while keeping the processes alive; whether it came to hold."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            self.tend()
            self.let_sleepers_go()
            self.watch.look()
            time.sleep(0.03)
        return True

    def moving(self, job: int) -> bool:
        """Wait until a shard is leased, or the job has come further."""
        query = f"SELECT COUNT(*) FROM shard WHERE job_id = {job} AND state <> 'ready'"
        return self.during(lambda: self.rows(query)[0][0] > 0)

    def finish(self, job: int) -> str:
        """Wait for the job's end."""
        if not self.during(lambda: self.state(job) in FINAL, PATIENCE):
            query = f"SELECT * FROM shard WHERE job_id = {job}"
            raise AssertionError(f"job {job} is {self.state(job)}: {self.rows(query)}")
        return self.state(job)
