"""Two real workers against one: real processes, a real model, each worker with one thread.

The same job runs with one worker and with two, in turns, on the embedded set-up (SQLite, and a
broker in a file). All workers are warm: each has computed a shard of another job before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.jobs import job_cost, raw_submission, start
from benchmarks.page import say
from db.database import Database
from jobs.settings import load_settings

RTOL = 1e-2
SHARD_SECONDS = 4
"""Work of a shard: small, as the job is, so that two workers end at about the same time."""

WARM = 64
"""Examples of the jobs that warm workers up: several shards, or one worker could take them all."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Seconds of the same job with one worker and with two."""

    one: float
    two: float
    load: float
    """The machine's load average over the last minute before the pair; 0 on an idle machine."""

    @property
    def speedup(self) -> float:
        """The speed-up by the second worker."""
        return self.one / self.two


def run(
    model: Path, data: Path, *, examples: int, pairs: int, log: Callable[[str], None] = say
) -> list[Pair]:
    """Measure the given number of pairs."""
    found = []
    for number in range(pairs):
        load = os.getloadavg()[0]
        one, two = (_seconds(model, data, examples, workers) for workers in (1, 2))
        found.append(Pair(one=one, two=two, load=load))
        log(f"workers: pair {number + 1}: {one:.1f} s, {two:.1f} s, {one / two:.2f} times")
    return found


def _seconds(model: Path, data: Path, examples: int, workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "HEADWISE_HOME": folder,
            "HEADWISE_ALLOWED_FOLDERS": f"{model}:{data.parent}",
            "HEADWISE_THREADS": "1",
            "HEADWISE_SHARD_SECONDS": str(SHARD_SECONDS),
            "HEADWISE_LOG_LEVEL": "error",
        }
        settings = load_settings(environment)
        database = Database(settings.database)
        database.migrate()
        with _running(["scheduler", *["worker"] * workers], environment):
            tries = 0
            while _busy_workers(database) < workers:
                if tries == 10:
                    raise RuntimeError("a worker took no shard in ten jobs")
                tries += 1
                warm = raw_submission(model, data, WARM, RTOL)
                job_cost(settings, database, {**warm, "again": True})
            taken = job_cost(
                settings, database, raw_submission(model, data, examples, RTOL)
            ).seconds
        database.close()
    return taken


def _busy_workers(database: Database) -> int:
    """Workers that have finished a shard, and so have the model loaded."""
    query = "SELECT COUNT(DISTINCT worker) FROM attempt WHERE outcome = 'done'"
    with database.read() as tx:
        return int(tx.run(query).scalar_one())


@contextmanager
def _running(commands: list[str], environment: dict[str, str]) -> Iterator[None]:
    processes: list[subprocess.Popen[bytes]] = [start(name, environment) for name in commands]
    try:
        time.sleep(1)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
