"""What operators ask: is the process up, is it ready, and its numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, jsonify
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from db import metrics as numbers
from db.metrics import Counts
from jobs.errors import UnavailableError
from jobs.states import JobState, ShardState
from webui.web import database, settings

blueprint = Blueprint("ops", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """The database answers and its schema is current; 503 otherwise."""
    if not database().schema_is_current():
        raise UnavailableError(f"The database cannot be used: {database().schema_words()}.")
    return jsonify({"status": "ready"})


@blueprint.get("/metrics")
def metrics() -> Response:
    """Counted in the database at every request: no state in this process."""
    registry = CollectorRegistry()
    registry.register(_Numbers(numbers.get_counts(database(), settings())))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Numbers(Collector):
    def __init__(self, counts: Counts) -> None:
        self.counts = counts

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("headwise_jobs", "Jobs by state.", labels=["state"])
        for job_state in JobState:
            jobs.add_metric([job_state.value], self.counts.jobs.get(job_state.value, 0))
        yield jobs
        shards = GaugeMetricFamily("headwise_shards", "Shards by state.", labels=["state"])
        for state in ShardState:
            shards.add_metric([state.value], self.counts.shards.get(state.value, 0))
        yield shards
        workers = GaugeMetricFamily("headwise_workers", "Workers by liveness.", labels=["state"])
        workers.add_metric(["alive"], self.counts.workers_alive)
        workers.add_metric(["dead"], self.counts.workers_dead)
        yield workers
        for name, meaning, value in (
            ("examples_done", "Examples of stored results.", self.counts.examples_done),
            ("examples_failed", "Examples that failed, of those.", self.counts.examples_failed),
        ):
            # Gauges: deleting a job takes its examples away.
            yield GaugeMetricFamily(f"headwise_{name}", meaning, value=value)
