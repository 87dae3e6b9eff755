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
    of_worker: bool = False
    """True for the samples of one worker."""

    @property
    def worker(self) -> str | None:
        """The name of the worker as figures show it; None for queues."""
        return next(iter(self.samples))[:100] if self.of_worker else None

    @property
    def source(self) -> Source:
        """The origin of its numbers."""
        return Source(worker=self.worker, period=self.period)


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


def _kind(measure: Measure, value: Value) -> FigureKind[History]:
    def draw(_database: Database, found: History, _chosen: Mapping[str, str]) -> Figure:
        rows = [
            {
                **({} if found.worker else {"queue": name}),
                "at": one.starts_at,
                measure.name: value(one, found.step),
            }
            for name, samples in found.samples.items()
            for one in samples
        ]
        if not rows:
            whose = f"worker {found.worker}" if found.worker else "queues"
            raise NotFoundError(f"Nothing was recorded of {whose} in this time.")
        return history(rows, measure, found.step, [found.source])

    return FigureKind(name=measure.name.replace("_", "-"), title=measure.title, draw=draw)


def _over(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


RATE = _kind(
    Measure(name="rate", title="Examples per second"), lambda one, step: one.examples / step
)
WORKER = (
    RATE,
    _kind(Measure(name="memory", title="Memory", unit="GB"), lambda one, _: _over(one.memory, _GB)),
    _kind(
        Measure(name="device_memory", title="GPU memory", unit="GB"),
        lambda one, _: _over(one.device_memory, _GB),
    ),
)
"""The figures of a worker; the last one of those with a GPU."""
QUEUES = (
    _kind(Measure(name="waiting", title="Examples waiting"), lambda one, _: one.waiting),
    _kind(
        Measure(name="wait", title="Longest wait", unit="min"), lambda one, _: _over(one.oldest, 60)
    ),
    RATE,
)
"""The figures of queues, a line for each."""
