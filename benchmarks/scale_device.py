"""The time that a fast device waits for the database: a worker whose device is a clock.

Everything is a worker's own (claims, heartbeat, texts read and tried, commits of a BERT-base shape)
but the device: a pass over 32 examples takes 32 ms during which the worker sleeps, and its results
are made up beforehand. Whatever is not a pass, from the first to the last one, is idle time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from benchmarks.scale_fleet import timed
from benchmarks.store import HEADS, LAYERS, job_row, made_up_result
from db.database import Database
from db.queue import new_jobs, planning
from db.queue.examples import ExampleRow
from db.queue.planning import Plan
from db.results import commit
from jobs.kinds.attribution import AttributionResult, AttributionSpec
from jobs.processes.logs import configure_logs
from jobs.settings import Settings
from jobs.specs.submission import canonical_json, parse_submission
from workers.block import Block
from workers.kinds import COMPUTE
from workers.worker import Worker, share_interpreter

SPEED = 1_000.0
"""Examples per second."""
PASS, BLOCK = 32, 256
"""Examples of a pass, and of a block."""
WORDS = "the model reads these words and one more of them"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measurement."""

    database: str
    examples: int
    shards: int
    idle: float
    """Share of the time from the first to the last pass."""
    waits: float
    """Seconds of it."""
    storing: float
    """Seconds of all commits."""

    @property
    def speed(self) -> float:
        """Head scores per second of the commits."""
        return self.examples * LAYERS * HEADS / self.storing


@dataclass
class Device:
    """Takes its time for every pass, and knows when it had none."""

    shard_seconds: float = 5.0
    busy: float = 0.0
    first: float = 0.0
    last: float = 0.0

    def sleep(self, seconds: float) -> None:
        """Do a pass that takes so long."""
        began = time.perf_counter()
        self.first = self.first or began
        self.busy += seconds
        time.sleep(seconds)
        self.last = time.perf_counter()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Stand in for `workers.kinds.attribution.compute` in this context."""
        result = made_up_result(BLOCK)

        def compute(block: Block[AttributionSpec]) -> AttributionResult:
            count = len(block.shard.texts)
            for start in range(0, count, PASS):
                self.sleep(min(PASS, count - start) / SPEED)
                block.progress()
            return result if count == BLOCK else result.picked(range(count))

        with patch.dict(COMPUTE, {"attribution": compute}):
            yield


def short_texts(count: int) -> list[tuple[str, str]]:
    """Return so many pairs of texts."""
    return [(f"{WORDS} {number}", WORDS) for number in range(count)]


def run(
    urls: dict[str, str], model: Path, texts: Sequence[tuple[str, str]], device: Device
) -> list[Row]:
    """Measure each of some databases, by name."""
    return [_row(name, url, model, texts, device) for name, url in urls.items()]


def _row(name: str, url: str, model: Path, texts: Sequence[tuple[str, str]], device: Device) -> Row:
    database = Database(url)
    database.migrate()
    # Loads the model, and tells the worker how fast it is.
    _job(database, model, texts[: 2 * BLOCK])
    with _worker(url, model, device) as worker:
        worker.compute_shards()
        device.busy = device.first = device.last = 0.0
        _job(database, model, texts)
        seconds: list[float] = []
        with timed(commit, "commit_shard", seconds):
            shards = worker.compute_shards()
    database.close()
    whole = device.last - device.first
    return Row(
        database=name,
        examples=len(texts),
        shards=shards,
        idle=1 - device.busy / whole,
        waits=whole - device.busy,
        storing=sum(seconds),
    )


@contextmanager
def _worker(url: str, model: Path, device: Device) -> Iterator[Worker]:
    with (
        tempfile.TemporaryDirectory() as home,
        device.in_place(),
    ):
        settings = Settings(
            home=Path(home),
            device="cpu",
            shard_seconds=device.shard_seconds,
            allowed_folders=str(model),
            log_level="error",
        )
        configure_logs(settings)
        share_interpreter()
        worker = Worker(settings, Database(url))
        worker.start()
        try:
            yield worker
        finally:
            worker.close()


def _job(database: Database, model: Path, texts: Sequence[tuple[str, str]]) -> None:
    """Plan a job of some pairs of texts."""
    data = {"path": "/data/dev.jsonl", "text_columns": ["premise", "hypothesis"]}
    spec = parse_submission({"spec": {"model": {"name": str(model)}, "data": data}}).spec
    values = job_row(canonical_json(spec), len(texts), name="device")
    rows = [ExampleRow(n, a, b, f"{n:064x}", None) for n, (a, b) in enumerate(texts)]
    job = new_jobs.create_job(database, values, rows)
    planning.take_plans(database)
    assert planning.write_plan(database, job, Plan(bounds=[(0, len(texts))], block=BLOCK))
