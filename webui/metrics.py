"""The metric families of /metrics, for Prometheus; docs/operations.md describes them."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from db.ops.attempt_counts import BOUNDS, Total
from db.ops.metrics import Numbers
from jobs.outcome import AttemptOutcome
from jobs.states import JobState, ShardState

CACHED_SECONDS = 5.0

_RESOURCES = (
    ("memory_bytes", "memory", "Resident memory of a worker that is alive."),
    ("cpu_cores", "cpu", "Processor time that it uses, in cores."),
    ("failures", "failures", "How often in a row it had ended right after its start."),
    ("device_memory_bytes", "device_memory", "Memory of its GPU."),
    ("device_reserved_bytes", "device_reserved", "Memory of its GPU that it holds."),
    ("device_allocated_bytes", "device_allocated", "Memory of its GPU that tensors use."),
    ("device_peak_bytes", "device_peak", "Most memory of its GPU that tensors have used."),
    ("device_use_ratio", "device_use", "Share of time in which its GPU computed."),
)


class MetricsCache:
    """The last answer, kept for a few seconds so that many scrapes cost one read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made = -CACHED_SECONDS
        self._text = b""

    def get(self, read: Callable[[], Numbers | None]) -> bytes:
        """Return the metrics as text; `read` returns None if the database is unavailable."""
        with self._lock:
            if time.monotonic() - self._made >= CACHED_SECONDS:
                registry = CollectorRegistry()
                registry.register(_Families(read()))
                self._text, self._made = generate_latest(registry), time.monotonic()
            return self._text


class _Families(Collector):
    def __init__(self, numbers: Numbers | None) -> None:
        self.numbers = numbers

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("headwise_build_info", "The dashboard.", labels=["version"])
        build.add_metric([version("headwise")], 1)
        yield build
        up = self.numbers is not None
        yield GaugeMetricFamily("headwise_database_up", "Whether the database answers.", value=up)
        if self.numbers is not None:
            yield from _queues(self.numbers)
            yield from _processes(self.numbers)
            yield from _totals(self.numbers.totals)


def _gauge(
    name: str, meaning: str, labels: str, rows: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(f"headwise_{name}", meaning, labels=labels.split())
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _queues(numbers: Numbers) -> Iterator[Metric]:
    jobs = (((state.value,), numbers.jobs.get(state.value, 0)) for state in JobState)
    yield _gauge("jobs", "Jobs by state.", "state", jobs)
    shards = (
        ((queue, state.value), numbers.shards.get((queue, state.value), 0))
        for queue in numbers.oldest
        for state in ShardState
    )
    yield _gauge("shards", "Shards of unfinished jobs by queue and state.", "queue state", shards)
    yield _gauge(
        "oldest_waiting_shard_seconds",
        "How long the oldest shard that could run has waited.",
        "queue",
        (((queue,), seconds) for queue, seconds in numbers.oldest.items()),
    )


def _processes(numbers: Numbers) -> Iterator[Metric]:
    for name, found, states in (
        ("workers", numbers.workers, ("idle", "busy", "stalled", "dead")),
        ("schedulers", numbers.schedulers, ("running", "stalled", "dead")),
    ):
        counted = Counter[str](one.condition for one in found)
        shown = (((state,), counted[state]) for state in states)
        yield _gauge(name, f"{name.capitalize()} by condition.", "state", shown)
    asked = [one for one in numbers.schedulers if one.alive]
    if asked:
        up = not all(one.broker_error for one in asked)
        meaning = "Whether the broker answers a scheduler; missing where none runs."
        yield GaugeMetricFamily("headwise_broker_up", meaning, value=up)
    alive = [worker for worker in numbers.workers if worker.alive]
    for name, key, meaning in _RESOURCES:
        rows = (
            ((worker.name, worker.host, worker.device), worker.resource_usage[key])
            for worker in alive
            if key in worker.resource_usage
        )
        yield _gauge(f"worker_{name}", meaning, "worker host device", rows)


def _totals(totals: list[Total]) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "headwise_attempts",
        "Attempts that ended, by outcome: done, error, lost (lease), handed-back.",
        labels=["queue", "kind", "outcome"],
    )
    sums: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    ended: Counter[tuple[str, str, str]] = Counter()
    seconds: dict[tuple[str, str], list[int]] = {}
    for total in totals:
        place = (total.queue, total.kind)
        ended[*place, total.outcome] += total.attempts
        for name in ("again", "examples", "failed", "head_scores"):
            sums[name][place] += getattr(total, name)
        if total.outcome is AttemptOutcome.DONE:
            seconds.setdefault(place, [0] * (len(BOUNDS) + 1))[total.bucket] += total.attempts
            sums["seconds"][place] += total.seconds  # type: ignore[assignment]
    for labels, number in ended.items():
        attempts.add_metric(labels, number)
    yield attempts
    for name, key, meaning in (
        ("retries", "again", "Attempts that were not the first of their shard."),
        ("examples", "examples", "Examples whose results were stored."),
        ("examples_failed", "failed", "Examples that failed, of those."),
        ("head_scores", "head_scores", "Heads scored, over all examples."),
    ):
        family = CounterMetricFamily(f"headwise_{name}", meaning, labels=["queue", "kind"])
        for place, number in sums[key].items():
            family.add_metric(place, number)
        yield family
    histogram = HistogramMetricFamily(
        "headwise_shard_seconds", "Computation of a stored shard.", labels=["queue", "kind"]
    )
    for place, counts in seconds.items():
        bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
        cumulated = [sum(counts[: number + 1]) for number in range(len(counts))]
        buckets = list(zip(bounds, map(float, cumulated), strict=True))
        histogram.add_metric(place, buckets, sum_value=sums["seconds"][place])
    yield histogram
