"""The metric families of /metrics, for Prometheus; docs/howto/operations.md describes them."""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
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
from db.ops.conditions import Level, Seen, Subject
from db.ops.fleet import Process, Role, Scheduler, Worker
from db.ops.metrics import Numbers
from jobs.outcome import AttemptOutcome
from jobs.states import FINAL_JOB_STATES, JobState, ShardState

_LEVELS = {Level.OK: 0, Level.NOTE: 0, Level.WARN: 1, Level.FAIL: 2}
_COUNTED = (
    ("commit_errors", "Tries to store results that failed."),
    ("lost_leases", "Leases that it found lost: their results were discarded."),
)

_RESOURCES = (
    ("memory_bytes", "memory", "Resident memory of a worker that is alive."),
    ("cpu_cores", "cpu", "Processor time that it uses, in cores."),
    ("device_memory_bytes", "device_memory", "Memory of its GPU."),
    ("device_reserved_bytes", "device_reserved", "Memory of its GPU that it holds."),
    ("device_allocated_bytes", "device_allocated", "Memory of its GPU that tensors use."),
    ("device_peak_bytes", "device_peak", "Most memory of its GPU that tensors have used."),
    ("device_use_ratio", "device_use", "Share of time in which its GPU computed."),
)


def render(numbers: Numbers | None, age: float, *, up: bool) -> bytes:
    """Return the metrics as text.

    numbers: None before the database has answered for the first time
    age: seconds since they were read
    up: whether the database answers now
    """
    registry = CollectorRegistry()
    registry.register(_Families(numbers, age, up))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, numbers: Numbers | None, age: float, up: bool) -> None:
        self.numbers, self.age, self.up = numbers, age, up

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("headwise_build_info", "The dashboard.", labels=["version"])
        build.add_metric([version("headwise")], 1)
        yield build
        meaning = "Whether the database answers; if not, the other metrics are older."
        yield GaugeMetricFamily("headwise_database_up", meaning, value=self.up)
        if self.numbers is not None:
            meaning = "Seconds since the metrics were read from the database."
            yield GaugeMetricFamily("headwise_metrics_age_seconds", meaning, value=self.age)
            yield from _conditions(self.numbers, self.up)
            yield from _queues(self.numbers)
            yield from _processes(self.numbers.seen)
            yield from _workers(self.numbers.seen.live_workers)
            yield from _machines(self.numbers.seen)
            yield from _totals(self.numbers.totals)


def _conditions(numbers: Numbers, up: bool) -> Iterator[Metric]:
    levels = numbers.levels if up else {**numbers.levels, Subject.DATABASE: Level.FAIL}
    rows = (((subject.value,), _LEVELS[levels.get(subject, Level.OK)]) for subject in Subject)
    meaning = "What is wrong: 0 nothing, 1 a warning, 2 something that jobs or users wait for."
    yield _gauge("condition", meaning, "condition", rows)


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
    ended = (((state,), numbers.ended.get(state, 0)) for state in FINAL_JOB_STATES)
    yield _gauge("recently_ended_jobs", "Jobs that ended within the last hour.", "state", ended)
    serving = Counter(
        queue.strip() for worker in numbers.seen.live_workers for queue in worker.queue.split(",")
    )
    served = (((queue,), serving[queue]) for queue in sorted({*serving, *numbers.oldest}))
    yield _gauge("queue_workers", "Live workers that serve a queue.", "queue", served)
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


def _processes(seen: Seen) -> Iterator[Metric]:
    for name, found, states in (
        ("workers", seen.workers, ("idle", "busy", "stalled", "dead")),
        ("schedulers", seen.schedulers, ("running", "stalled", "dead")),
    ):
        counted = Counter[str](one.condition for one in found)
        shown = (((state,), counted[state]) for state in states)
        yield _gauge(name, f"{name.capitalize()} by condition.", "state", shown)
    if seen.alive:
        up = not all(one.broker_error for one in seen.alive)
        meaning = "Whether a scheduler can send messages through the broker; missing without one."
        yield GaugeMetricFamily("headwise_broker_up", meaning, value=up)
    roles: list[tuple[str, Sequence[Scheduler | Worker | Process]]] = [
        ("worker", seen.live_workers),
        ("scheduler", seen.alive),
        *((role, [one for one in seen.live_processes if one.role == role]) for role in Role),
    ]
    running = Counter((role, one.report.version) for role, found in roles for one in found)
    yield _gauge("processes", "Live processes by release.", "role version", running.items())
    rows = (((host, name), times) for name, host, times in seen.failures)
    meaning = "How often in a row a process has ended right after its start."
    yield _gauge("process_failures", meaning, "host process", rows)


def _workers(alive: Sequence[Worker]) -> Iterator[Metric]:
    for name, key, meaning in _RESOURCES:
        rows = (
            ((worker.name, worker.host, worker.device), worker.resource_usage[key])
            for worker in alive
            if key in worker.resource_usage
        )
        yield _gauge(f"worker_{name}", meaning, "worker host device", rows)
    for name, meaning in _COUNTED:
        labels = ["worker", "host", "device"]
        family = CounterMetricFamily(f"headwise_worker_{name}", meaning, labels=labels)
        for worker in alive:
            values = (worker.name, worker.host, worker.device)
            family.add_metric(values, getattr(worker.report, name))
        yield family


def _machines(seen: Seen) -> Iterator[Metric]:
    here = socket.gethostname()
    disks = {(host or here, one.place, one.folder): one for host, one in seen.disks}
    free = ((labels, float(one.free)) for labels, one in disks.items())
    yield _gauge("disk_free_bytes", "Space that is left on a disk.", "host place folder", free)
    inodes = ((labels, one.inodes) for labels, one in disks.items() if one.inodes is not None)
    yield _gauge("disk_free_inodes", "Files that fit on a disk.", "host place folder", inodes)
    clocks = {(host or here,): offset for host, offset in seen.clocks.items()}
    meaning = "Seconds that a machine's clock is ahead of the database's."
    yield _gauge("clock_offset_seconds", meaning, "host", clocks.items())


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
