"""A stack to be disturbed: servers of its own, two schedulers, two workers, and what must hold."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.errors import ConflictError, UnavailableError
from scheduler.submission.control import control
from scheduler.submission.submit import check, submit
from tests.chaos.forge import Forge
from tests.chaos.invariants import BROKEN
from tests.helpers import services
from tests.helpers.stack import Stack, alive, children_of

STACKS = ("sqlite-embedded", "postgresql-redis", "postgresql-rabbitmq")
EXAMPLES, PACE = 48, 0.03
PATIENCE = 120.0
"""Seconds that a job may take, however disturbed, on a machine that is busy with other things."""
FINAL = ("succeeded", "failed", "cancelled")


@dataclass
class Verdict:
    """What a disturbed job came to."""

    state: str
    lost: int = 0
    doubled: int = 0
    equal: bool | None = None
    broken: list[str] = field(default_factory=list)
    """Invariants that do not hold."""


UNLOADABLE = """
SELECT shard_no FROM attempt WHERE job_id = {job} AND stage = 'loading' AND outcome = 'lost'
GROUP BY shard_no HAVING COUNT(*) > 1
"""
"""Shards that lost two workers while they loaded the model."""


class Arena(Stack):
    """The processes of a stack, kept alive while faults are done to them."""

    def __init__(self, home: Path, forge: Forge, *, database_url: str = "", **more: object) -> None:
        settings = {
            "lease_seconds": 2.5,
            "heartbeat_seconds": 0.4,
            "stall_seconds": 1.5,
            "tick_seconds": 0.1,
            "log_level": "info",
        }
        super().__init__(home, database_url=database_url, **settings, **more)
        self.forge = forge
        self.faults = home / "faults"
        self.faults.mkdir()
        self.schedulers: list[int] = []
        self.workers: list[int] = []
        self.all: set[int] = set()
        self.wanted = (2, 2)
        self.skew = 0.0
        self.broker: services.Server | None = None
        self.server: services.PostgreSQL | None = None
        self.disk: Path | None = None
        """A small file system that the database lies on."""
        self.hashes: dict[str, str] = {}
        self.name = ""
        self._sleepers: dict[int, float] = {}

    # Processes.

    def fork(self, command: str, *arguments: str, skew: float = 0.0) -> int:
        """Start `headwise COMMAND ARGUMENTS`."""
        pid = self.forge.start(
            arguments=[command, *arguments],
            environment=self.environment,
            log=str(self.home / f"{command}.log"),
            faults=str(self.faults),
            skew=skew,
            pace=PACE,
        )
        self.all.add(pid)
        return pid

    def tend(self) -> None:
        """Start again what has died."""
        for command, pids, wanted in (
            ("scheduler", self.schedulers, self.wanted[0]),
            ("worker", self.workers, self.wanted[1]),
        ):
            pids[:] = alive(pids)
            pids += [self.fork(command, skew=self.skew) for _ in range(wanted - len(pids))]

    def let_sleepers_go(self, after: float = 4.5) -> None:
        """Wake processes that a fault stopped, well after their lease."""
        for file in self.faults.glob("*.taken.*"):
            with contextlib.suppress(FileNotFoundError):
                if file.read_text() == "stop":
                    pid = int(file.suffix[1:])
                    since = self._sleepers.setdefault(pid, time.monotonic())
                    if time.monotonic() - since > after:
                        self.signal(pid, signal.SIGCONT)

    def computing(self) -> list[int]:
        """The computing children of all workers."""
        return [child for pid in self.workers for child in alive(children_of(pid))]

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process that may be gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def stop(self) -> None:
        """Kill everything."""
        self.wanted = (0, 0)
        for pid in sorted(self.all):
            for one in [*children_of(pid), pid]:
                self.signal(one, signal.SIGKILL)
        self.database.close()

    def reset(self) -> None:
        """After a failed round: new processes, and no job left that would be taken for the next."""
        for pid in [*self.workers, *self.schedulers]:
            for one in [*children_of(pid), pid]:
                self.signal(one, signal.SIGKILL)
        self.forget()
        self.tend()
        final = ", ".join(f"'{state}'" for state in FINAL)
        for (job,) in self.rows(f"SELECT id FROM job WHERE state NOT IN ({final})"):
            self.ask(job, "cancel")
            self.finish(job)

    # Faults at points.

    def lay(self, point: str, action: str) -> str:
        """The first process to pass this point is to do this."""
        part = self.faults / f".{point}"
        part.write_text(action)
        part.rename(self.faults / point)
        return point

    def taken(self, point: str) -> bool:
        """Whether a process has come by."""
        return any(self.faults.glob(f"{point}.taken.*"))

    def forget(self) -> list[str]:
        """Take away what was laid; returns the points that were passed."""
        passed = []
        for file in list(self.faults.iterdir()):
            name, taken, _ = file.name.partition(".taken.")
            passed += [name] if taken else []
            file.unlink(missing_ok=True)
        return passed

    # Jobs.

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
        """Do something to a database that may be away."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return work()
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
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

    # What must hold.

    def verdict(self, job: int, shape: str = "plain") -> Verdict:
        """Check a final job against the invariants and an undisturbed one of its shape."""
        state, found_hash = self.rows(f"SELECT state, result_hash FROM job WHERE id = {job}")[0]
        found = Verdict(state=state)
        for what, query in BROKEN.items():
            if rows := self.rows(query.format(job=job)):
                found.broken.append(f"{what}: {rows[:5]}")
        if state == "failed" and self.rows(UNLOADABLE.format(job=job)):
            return found  # as it must: two workers died while they loaded its model
        mine = f"WHERE job_id = {job}"
        done, stored = self.rows(
            f"SELECT COALESCE(SUM(CASE WHEN state = 'done' THEN hi - lo ELSE 0 END), 0), "
            f"(SELECT COUNT(*) FROM example_result {mine}) FROM shard {mine}"
        )[0]
        found.doubled += max(0, stored - done)
        if state != "cancelled":
            found.equal = found_hash == self.hashes.get(shape, found_hash)
            lost = self.rows(f"SELECT COUNT(*) FROM shard {mine} AND state = 'cancelled'")[0][0]
            missing = EXAMPLES - stored if shape == "plain" else 0
            found.lost = int(lost) + max(0, missing)
            if shape == "plain" and state != "succeeded":
                found.broken.append(f"a job without a bad example has {state}")
            counted = {row[0] for row in self.rows(f"SELECT DISTINCT n FROM importance {mine}")}
            good = self.rows(f"SELECT COUNT(*) FROM example_result {mine} AND error IS NULL")[0][0]
            found.doubled += sum(max(0, n - good) for n in counted)
            if counted - {good}:
                found.broken.append(f"importance counts {counted} of {good} examples")
        return found


def missing_for(name: str) -> str:
    """The programs that a stack needs and this machine lacks."""
    needed = {
        "sqlite-embedded": (),
        "postgresql-redis": (services.PostgreSQL, services.Redis),
        "postgresql-rabbitmq": (services.PostgreSQL, services.RabbitMQ),
    }[name]
    return ", ".join(filter(None, (server.missing() for server in needed)))


@contextlib.contextmanager
def arena(name: str, folder: Path, forge: Forge) -> Iterator[Arena]:
    """A stack that runs: its servers on free ports, two schedulers, two workers."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        home, disk = folder / "home", Path(tempfile.mkdtemp(prefix="headwise-disk-"))
        home.mkdir()
        stack.callback(shutil.rmtree, disk, ignore_errors=True)
        disk.chmod(0o755)  # the user postgres must get in
        small = stack.enter_context(services.small_disk(disk, 128 if "postgres" in name else 24))
        more: dict[str, object] = {"queue": "chaos"}
        server = broker = None
        if name == "sqlite-embedded":
            database = f"sqlite:///{disk / 'headwise.sqlite'}"
        else:
            server = services.PostgreSQL(disk)
            server.create()
            server.start()
            stack.callback(server.stop)
            (folder / "broker").mkdir()
            kind = services.Redis if name == "postgresql-redis" else services.RabbitMQ
            broker = kind(folder / "broker")
            broker.start()
            stack.callback(broker.stop)
            more["broker_url"] = broker.url
            database = server.url
        made = Arena(home, forge, database_url=database, **more)
        stack.callback(made.stop)
        made.name, made.server, made.broker = name, server, broker
        made.disk = disk if small else None
        made.tend()
        yield made


def undisturbed(made: Arena, shapes: dict[str, dict[int, str]]) -> None:
    """Remember the hash of a job of each shape that nothing happened to."""
    for shape, bad in shapes.items():
        job = made.begin(bad)
        made.finish(job)
        found = made.verdict(job, shape)
        assert not found.broken, found.broken
        made.hashes[shape] = made.rows(f"SELECT result_hash FROM job WHERE id = {job}")[0][0]


def seeded(name: str, seed: int) -> random.Random:
    """Chance of a stack's own, the same for the same seed."""
    return random.Random(f"{name}:{seed}")
