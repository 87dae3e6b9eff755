"""A simulated fleet: the real scheduler, store, leases and queue; only the model is left out.

One process runs the real `Scheduler`. Two more hold the workers, each a thread with the real
`workers.worker.Worker`: its claims, its heartbeat in a thread of its own, its commits. In place of
Celery's consumer each takes wake-ups from the real queue through kombu, and in place of a model
`Attempt` sleeps and returns made-up numbers of a tiny one. Every worker has its own database
connections, as processes would.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any
from unittest.mock import patch
from zlib import crc32

import structlog

from benchmarks.page import say
from benchmarks.scale_data import planned
from benchmarks.scale_pages import percentile
from benchmarks.store import made_up_result
from db.database import Database
from db.ops import attempt_counts, fleet
from db.queue import claims, usage
from db.reads import jobs as job_reads
from db.results import commit
from db.results.commit import ShardInput
from jobs.processes.logs import configure_logs
from jobs.settings import Settings, load_settings
from scheduler.broker import make_app
from scheduler.loop import Scheduler
from workers import worker
from workers.executor import Attempt

PROCESSES = 2
"""Processes that hold the workers' threads."""
MACHINES = 25
"""Machines that the workers count as."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The fleet to simulate."""

    workers: int
    shards: int
    sleep: float
    """Seconds of a shard's computing."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results; the names of times end in their units."""

    fleet: Fleet
    database: str
    broker: str
    seconds: float
    scheduler_cpu: float
    """Milliseconds of CPU per shard, the database's not included."""
    tick_ms: float
    """The 99th percentile of a scheduler's round."""
    workers_cpu: float
    """Milliseconds of CPU per shard in the workers' processes."""
    claim_p50: float
    claim_p99: float
    commit_p50: float
    commit_p99: float
    heartbeats: float
    """Heartbeat statements per second, leases and workers."""
    transactions: float | None
    """Of PostgreSQL, per second."""
    connections: int | None
    """Most connections to PostgreSQL at once."""
    claims: int
    empty_claims: int
    doubled: int
    """Examples or shards that were counted twice, or not at all."""


def run(settings: dict[str, str], fleet: Fleet, log: Callable[[str], None] = say) -> Report:
    """Run a fleet on an empty, migrated database until its job is done.

    settings: HEADWISE_ variables: home, database and broker
    """
    loaded = load_settings(settings)
    database = Database(loaded.database)
    context = multiprocessing.get_context("forkserver")
    # torch is imported once, not in every process.
    context.set_forkserver_preload([__name__])
    ready, go, stop, results = (*(context.Event() for _ in range(3)), context.Queue())
    share = fleet.workers // PROCESSES
    processes = [
        context.Process(target=_work, args=(settings, share, fleet.sleep, stop, results))
        for _ in range(PROCESSES)
    ]
    processes.append(context.Process(target=_schedule, args=(settings, ready, go, stop, results)))
    for process in processes:
        process.start()
    try:
        _wait_for_workers(database, share * PROCESSES)
        # Before the scheduler starts, which would cut the job into shards of its own.
        job, _ = planned(database, fleet.shards, "attribution", 1, {}, queue=loaded.queue)
        ready.wait(timeout=300)
        go.set()
        seconds, connections, transactions = _watch(database, job, log)
        stop.set()
        found = [results.get(timeout=120) for _ in processes]
    finally:
        stop.set()
        go.set()
        for process in processes:
            process.join(timeout=60)
            process.kill()
    report = _report(fleet, database, loaded.broker, seconds, found)
    database.close()
    return Report(
        **report,
        connections=connections,
        transactions=transactions,
        doubled=wrong(loaded.database, job, fleet.shards),
    )


def wrong(url: str, job: int, examples: int) -> int:
    """Count the shards and examples of a finished job that violate an invariant; it must be 0."""
    checks = {
        "SELECT COUNT(*) FROM shard WHERE job_id = :job AND state <> 'done'": 0,
        "SELECT COUNT(*) FROM example_result WHERE job_id = :job": examples,
        "SELECT COUNT(DISTINCT example_no) FROM example_result WHERE job_id = :job": examples,
        "SELECT MIN(n) FROM importance WHERE job_id = :job": examples,
        "SELECT COUNT(*) FROM attempt WHERE job_id = :job AND outcome = 'done'": examples,
        "SELECT (SELECT SUM(fence) FROM shard WHERE job_id = :job) - COUNT(*) FROM attempt "
        "WHERE job_id = :job": 0,
        "SELECT COUNT(*) FROM example_result r JOIN shard s ON s.job_id = r.job_id AND "
        "r.example_no >= s.lo AND r.example_no < s.hi AND r.fence <> s.fence "
        "WHERE r.job_id = :job": 0,
    }
    database = Database(url)
    with database.read() as tx:
        found = [
            abs(int(tx.run(query, job=job).scalar() or 0) - expected)
            for query, expected in checks.items()
        ]
    database.close()
    return max(found)


def _schedule(settings: dict[str, str], ready: Any, go: Any, stop: Any, results: Any) -> None:
    scheduler = Scheduler(_quiet(settings), Database(load_settings(settings).database))
    ticks: list[float] = []
    ready.set()
    go.wait()
    with timed(scheduler, "tick", ticks):
        before = time.process_time()
        scheduler.run(stop)
    results.put({"scheduler_cpu": time.process_time() - before, "ticks": ticks})


def _work(settings: dict[str, str], count: int, sleep: float, stop: Any, results: Any) -> None:
    loaded = _quiet(settings)
    taken: dict[str, list[float]] = {name: [] for name in ("claim", "heartbeat", "beat", "commit")}
    empty: list[float] = []
    with ExitStack() as stack:
        claim = claims.claim

        def claimed(*arguments: Any) -> Any:
            started = time.perf_counter()
            held = claim(*arguments)
            (empty if held is None else taken["claim"]).append(time.perf_counter() - started)
            return held

        stack.enter_context(patch.object(claims, "claim", claimed))
        for module, name, key in (
            (claims, "renew", "heartbeat"),
            (fleet, "report_worker", "beat"),
            (commit, "commit_shard", "commit"),
        ):
            stack.enter_context(timed(module, name, taken[key]))
        stack.enter_context(patch.object(worker, "Attempt", _sleeper(sleep)))
        # Processes and machines count apart: threads that count together would wait for each
        # other's commits.
        stack.enter_context(
            patch.object(attempt_counts, "_source", lambda _: f"{threading.get_ident()}")
        )
        stack.enter_context(patch.object(usage, "_source", _machine))
        threads = [
            threading.Thread(target=_one_worker, args=(loaded, stop), daemon=True)
            for _ in range(count)
        ]
        before = time.process_time()
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(timeout=30)
    cpu = time.process_time() - before
    results.put({"taken": taken, "empty": empty, "cpu": cpu})


def _machine() -> str:
    """The machine of the worker whose results this thread stores."""
    return f"machine {crc32(str(threading.get_ident()).encode()) % MACHINES}"


def _one_worker(settings: Settings, stop: Any) -> None:
    one = worker.Worker(settings)
    one.start()
    with make_app(settings).connection_for_read() as connection:
        queue = connection.SimpleQueue(settings.queue)
        while not stop.is_set():
            try:
                message = queue.get(timeout=1)
            except Empty:
                continue
            message.ack()
            one.compute_shards()
    one.close()


def _sleeper(seconds: float) -> type[Attempt]:
    made = made_up_result(1, layers=2, heads=3, tokens=8)

    class SleepingAttempt(Attempt):
        """A shard of one example that takes so many seconds."""

        def compute(self, shard: ShardInput) -> None:
            self.ready()
            time.sleep(seconds)
            self.progress(len(shard.texts))
            self.parts.append(made)
            self.seconds, self.fingerprint = seconds, "fingerprint"

    return SleepingAttempt


def _quiet(settings: dict[str, str]) -> Settings:
    loaded = load_settings({**settings, "HEADWISE_LOG_LEVEL": "error"})
    configure_logs(loaded)
    structlog.get_logger()
    return loaded


@contextmanager
def timed(owner: Any, name: str, seconds: list[float]) -> Iterator[None]:
    """Append the seconds of every call of a function to a list."""
    real = getattr(owner, name)

    def wrapper(*arguments: Any, **more: Any) -> Any:
        started = time.perf_counter()
        try:
            return real(*arguments, **more)
        finally:
            seconds.append(time.perf_counter() - started)

    with patch.object(owner, name, wrapper):
        yield


def _wait_for_workers(database: Database, count: int) -> None:
    deadline = time.monotonic() + 300
    while len(fleet.list_workers(database, Settings())) < count:
        if time.monotonic() > deadline:
            raise RuntimeError("the workers did not start")
        time.sleep(0.5)


def _watch(
    database: Database, job_id: int, log: Callable[[str], None]
) -> tuple[float, int | None, float | None]:
    """Wait for the job; seconds, most connections at once, transactions per second."""
    started, logged, most = time.perf_counter(), 0.0, 0
    first = _postgres_numbers(database)
    while not (job := job_reads.get_job(database, job_id)).final:
        if numbers := _postgres_numbers(database):
            most = max(most, numbers[0])
        if time.perf_counter() - logged > 30:
            logged = time.perf_counter()
            log(f"fleet: {job.examples_done:,} of {job.examples:,} shards")
        time.sleep(2)
    if job.error:
        raise RuntimeError(job.error)
    seconds = time.perf_counter() - started
    last = _postgres_numbers(database)
    if first is None or last is None:
        return seconds, None, None
    return seconds, most, (last[1] - first[1]) / seconds


def _postgres_numbers(database: Database) -> tuple[int, int] | None:
    """Connections, and transactions so far."""
    if database.dialect != "postgresql":
        return None
    query = (
        "SELECT numbackends, xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    with database.read() as tx:
        row = tx.run(query, name=database.engine.url.database).one()
    return int(row[0]), int(row[1])


def _report(
    fleet: Fleet, database: Database, broker: str, seconds: float, found: list[dict[str, Any]]
) -> dict[str, Any]:
    (scheduler,) = [one for one in found if "ticks" in one]
    workers = [one for one in found if "taken" in one]
    taken = {
        name: [value for one in workers for value in one["taken"][name]]
        for name in ("claim", "heartbeat", "beat", "commit")
    }
    cpu = sum(one["cpu"] for one in workers)
    return {
        "fleet": fleet,
        "database": database.dialect,
        "broker": broker.partition(":")[0],
        "seconds": seconds,
        "scheduler_cpu": 1000 * scheduler["scheduler_cpu"] / fleet.shards,
        "tick_ms": 1000 * percentile(scheduler["ticks"], 0.99),
        "workers_cpu": 1000 * cpu / fleet.shards,
        "claim_p50": 1000 * percentile(taken["claim"], 0.5),
        "claim_p99": 1000 * percentile(taken["claim"], 0.99),
        "commit_p50": 1000 * percentile(taken["commit"], 0.5),
        "commit_p99": 1000 * percentile(taken["commit"], 0.99),
        "heartbeats": (len(taken["heartbeat"]) + len(taken["beat"])) / seconds,
        "claims": len(taken["claim"]),
        "empty_claims": sum(len(one["empty"]) for one in workers),
    }


def home(folder: Path, database_url: str, broker_url: str, queue: str) -> dict[str, str]:
    """The settings of a fleet."""
    return {
        "HEADWISE_HOME": str(folder),
        "HEADWISE_DATABASE_URL": database_url,
        "HEADWISE_BROKER_URL": broker_url,
        "HEADWISE_QUEUE": queue,
    }
