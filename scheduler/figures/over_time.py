"""The figures of workers and queues over time: their speed, and what takes memory or waits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from db.database import Database
from db.ops.samples import Sample
from headwise.figures import Figure, Measure, Source, history
from jobs.errors import NotFoundError
from scheduler.figures.base import FigureKind, Figures

_GB = 1e9


@dataclass(frozen=True, kw_only=True)
class History:
    """The samples of a worker, or of queues."""

    period: str
    """The time up to now, in words: `24 hours`."""
    step: int
    """Seconds that a sample is of."""
    samples: Mapping[str, Sequence[Sample]]
    """By the name of the worker or of the queue."""


def figures_of_worker(worker: History) -> Figures[History]:
    """The figures that a worker has in a time."""
    ((name, samples),) = worker.samples.items()
    has_device = any(one.device_memory for one in samples)
    safe = re.sub("[^A-Za-z0-9_.-]", "-", name)
    return Figures(
        subject=worker,
        title=f"Worker {name[:100]}",
        file_name=f"worker-{safe[:60]}",
        kinds=tuple(one for one in WORKER if has_device or one.name != "device-memory"),
    )


def figures_of_queues(queues: History) -> Figures[History]:
    """The figures that queues have in a time."""
    return Figures(subject=queues, title="Queues", file_name="queues", kinds=QUEUES)


Value = Callable[[Sample, int], float | None]
"""A number of a sample of so many seconds."""


def _of_worker(measure: Measure, value: Value) -> FigureKind[History]:
    def draw(_database: Database, worker: History, _chosen: Mapping[str, str]) -> Figure:
        ((name, samples),) = worker.samples.items()
        if not samples:
            raise NotFoundError(f"Nothing was recorded of worker {name[:100]} in this time.")
        rows = [{"at": one.starts_at, measure.name: value(one, worker.step)} for one in samples]
        origin = Source(worker=name[:100], period=worker.period)
        return history(rows, measure, worker.step, [origin])

    return _kind(measure, draw)


def _of_queues(measure: Measure, value: Value) -> FigureKind[History]:
    def draw(_database: Database, queues: History, _chosen: Mapping[str, str]) -> Figure:
        rows = [
            {"queue": name, "at": one.starts_at, measure.name: value(one, queues.step)}
            for name, samples in queues.samples.items()
            for one in samples
        ]
        if not rows:
            raise NotFoundError("Nothing was recorded of queues in this time.")
        return history(rows, measure, queues.step, [Source(period=queues.period)])

    return _kind(measure, draw)


def _kind(
    measure: Measure, draw: Callable[[Database, History, Mapping[str, str]], Figure]
) -> FigureKind[History]:
    return FigureKind(name=measure.name.replace("_", "-"), title=measure.title, draw=draw)


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


RATE = Measure(name="rate", title="Examples per second")

WORKER = (
    _of_worker(RATE, lambda one, step: one.examples / step),
    _of_worker(
        Measure(name="memory", title="Memory", unit="GB"), lambda one, _: _over(one.memory, _GB)
    ),
    _of_worker(
        Measure(name="device_memory", title="GPU memory", unit="GB"),
        lambda one, _: _over(one.device_memory, _GB),
    ),
)
"""The figures of a worker; the last one of those with a GPU."""
QUEUES = (
    _of_queues(Measure(name="waiting", title="Examples waiting"), lambda one, _: one.waiting),
    _of_queues(
        Measure(name="wait", title="Longest wait", unit="min"), lambda one, _: _over(one.oldest, 60)
    ),
    _of_queues(RATE, lambda one, step: one.examples / step),
)
"""The figures of queues, a line for each."""
