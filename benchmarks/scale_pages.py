"""Response times of every page and its API endpoint over a database with 10^7 head scores.

Requests go through Flask's test client: routing, queries, template; no network, no browser. Each
address is requested once as a warm-up and then repeatedly; the slowest of twenty decides.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from flask.testing import FlaskClient

from benchmarks.scale_data import Filled
from benchmarks.store import WHO
from db.database import Database
from jobs.settings import load_settings
from webui.app import create_app


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one address."""

    name: str
    median: float
    p95: float
    cpu: float
    """Of them the CPU's in this process, median: on SQLite all, on PostgreSQL not the server's.
    Other work on the machine does not change it much."""


def addresses(jobs: Filled) -> Iterator[tuple[str, str]]:
    """Name and address of every page that reads the database, and of its API endpoint."""
    big, api = f"/jobs/{jobs.big.job_id}", f"/api/v1/jobs/{jobs.big.job_id}"
    middle, running = jobs.examples // 2, f"/jobs/{jobs.running}"
    yield "list of jobs", "/"
    yield "list of jobs, searched", "/?q=bert&state=succeeded"
    yield "job, finished", big
    yield "job, last page of examples", f"{big}?before={jobs.examples}"
    yield "job, wrong predictions", f"{big}?only=wrong"
    yield "job, failed examples (none)", f"{big}?only=failed"
    yield "job, text searched (none)", f"{big}?text=nowhere"
    yield "job, running: 20,000 shards", running
    yield "job, last page of shards", f"{running}?shard_page=1000"
    yield "head", f"{big}/heads/6/7"
    yield "example", f"{big}/examples/{middle}"
    yield "importance job", f"/jobs/{jobs.importance}"
    yield "rankings compared", f"{big}/correlation?with={jobs.importance}.taylor"
    yield "pruning job", f"/jobs/{jobs.pruning}"
    yield "attack job", f"/jobs/{jobs.attack}"
    yield "trigger", f"/jobs/{jobs.attack}/triggers/0"
    yield "studies", "/studies"
    yield "study", f"/studies/{jobs.study}"
    yield "operations", "/operations"
    yield "operations, 30 days", "/operations?hours=720"
    yield "worker", f"/workers/{WHO.name}"
    yield "new job", "/jobs/new"
    yield "metrics", "/metrics"
    yield "API: jobs", "/api/v1/jobs"
    yield "API: job, finished", api
    yield "API: job, running (the live part)", f"/api/v1{running}"
    yield "API: heads", f"{api}/heads"
    yield "API: heads, running", f"/api/v1{running}/heads"
    yield "API: rankings", f"{api}/rankings"
    yield "API: examples", f"{api}/examples?limit=500&after={middle}"
    yield "API: example", f"{api}/examples/{middle}"
    yield "API: shards", f"/api/v1{running}/shards?limit=500"
    yield "API: pruning", f"/api/v1/jobs/{jobs.pruning}/pruning"
    yield "API: triggers", f"/api/v1/jobs/{jobs.attack}/triggers"
    yield "API: study", f"/api/v1/studies/{jobs.study}"
    yield "API: workers", "/api/v1/workers"
    yield "API: operations", "/api/v1/operations"


def measure(database: Database, jobs: Filled, repeats: int) -> list[Timing]:
    """Request all addresses in turn, repeatedly, so that a busy second affects them all alike."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings({}, home=Path(folder), database_url=database.url)
        app = create_app(settings)
        client = app.test_client()
        listed = dict(addresses(jobs))
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in listed}
        for turn in range(repeats + 1):
            for name, address in listed.items():
                seconds = request(client, address)
                if turn:
                    taken[name].append(seconds)
        app.extensions["headwise"].database.close()
    return timings(taken)


def request(client: FlaskClient, address: str) -> tuple[float, float]:
    """Seconds until the whole answer is there, and CPU seconds of this process.

    Raises RuntimeError for an answer other than 200.
    """
    started, cpu = time.perf_counter(), time.process_time()
    response = client.get(address)
    body = response.get_data()
    seconds = time.perf_counter() - started, time.process_time() - cpu
    if response.status_code != 200 or not body:
        raise RuntimeError(f"{address}: {response.status_code} {body[:300]!r}")
    return seconds


def timings(taken: Mapping[str, list[tuple[float, float]]]) -> list[Timing]:
    """Median and 95th percentile of each list of seconds."""
    found = []
    for name, pairs in taken.items():
        seconds, cpu = zip(*pairs, strict=True)
        found.append(
            Timing(
                name=name,
                median=1000 * median(seconds),
                p95=1000 * percentile(list(seconds), 0.95),
                cpu=1000 * median(cpu),
            )
        )
    return found


def percentile(values: list[float], share: float) -> float:
    """The value that the given share of all values does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
