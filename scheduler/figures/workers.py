"""The figures of a worker: its speed and its memory over time."""

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
class WorkerHistory:
    """The samples of a worker, each the sum of a step of time."""

    name: str
    period: str
    """The time up to now, in words: `24 hours`."""
    step: int
    """Seconds."""
    samples: Sequence[Sample]


def figures_of_worker(worker: WorkerHistory) -> Figures[WorkerHistory]:
    """The figures that a worker has in a time."""
    has_device = any(one.device_memory for one in worker.samples)
    safe = re.sub("[^A-Za-z0-9_.-]", "-", worker.name)
    return Figures(
        subject=worker,
        title=f"Worker {worker.name[:100]}",
        file_name=f"worker-{safe[:60]}",
        kinds=tuple(one for one in WORKER if has_device or one.name != "device-memory"),
    )


def _over_time(
    measure: Measure, value: Callable[[Sample, int], float | None]
) -> Callable[[Database, WorkerHistory, Mapping[str, str]], Figure]:
    def draw(_database: Database, worker: WorkerHistory, _chosen: Mapping[str, str]) -> Figure:
        if not worker.samples:
            raise NotFoundError(f"Nothing was recorded of worker {worker.name[:100]} in this time.")
        rows = [
            {"at": one.starts_at, measure.name: value(one, worker.step)} for one in worker.samples
        ]
        origin = Source(worker=worker.name[:100], period=worker.period)
        return history(rows, measure, worker.step, [origin])

    return draw


def _gigabytes(value: int | None) -> float | None:
    return None if value is None else value / _GB


WORKER = (
    FigureKind(
        name="rate",
        title="Examples per second",
        draw=_over_time(
            Measure(name="rate", title="Examples per second"),
            lambda one, step: one.examples / step,
        ),
    ),
    FigureKind(
        name="memory",
        title="Memory",
        draw=_over_time(
            Measure(name="memory", title="Memory", unit="GB"),
            lambda one, _step: _gigabytes(one.memory),
        ),
    ),
    FigureKind(
        name="device-memory",
        title="GPU memory",
        draw=_over_time(
            Measure(name="device_memory", title="GPU memory", unit="GB"),
            lambda one, _step: _gigabytes(one.device_memory),
        ),
    ),
)
"""The figures of a worker; the last one of those with a GPU."""
