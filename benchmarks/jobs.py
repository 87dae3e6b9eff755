"""The cost of the job system: a job through queue, worker and database against the bare engine.

Both attribute the same texts with the same model and settings, one after the other, on a warm
process: the job's clock runs from submit to succeeded, whose time the database has. Processor time
tells on a busy machine, too, that of the worker and of the scheduler against that of the call.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import headwise
from db.database import Database
from db.reads import jobs as job_reads
from jobs.inputs.data.examples import open_rows
from jobs.kinds.attribution import AttributionSpec
from jobs.settings import Settings, load_settings
from jobs.specs.submission import parse_submission
from scheduler.submission.submit import check, submit


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time that a job or a call took."""

    seconds: float
    processor: float
    """Seconds of processor time."""
    first: float = 0.0
    """Seconds until its first results were stored."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The cost of the bare engine and of the job."""

    examples: int
    engine: Cost
    job: Cost

    @property
    def overhead(self) -> float:
        """The time that the job adds to the bare engine's, as a share of the latter."""
        return self.job.seconds / self.engine.seconds - 1

    @property
    def processor_overhead(self) -> float:
        """The same of processor time."""
        return self.job.processor / self.engine.processor - 1


def run(model: Path, pairs: Path, *, examples: Sequence[int], rtol: float = 1e-2) -> list[Row]:
    """Measure a job of one text, then of so many: the bare engine, the job, and the bare engine
    again, whose mean is compared.

    pairs: JSON lines, which begin again where there are too few
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pairs.jsonl"
        with pairs.open(encoding="utf-8") as lines:
            data.write_text("".join(islice(cycle(lines), max(examples))), encoding="utf-8")
        environment = {
            "HEADWISE_HOME": folder,
            "HEADWISE_ALLOWED_FOLDERS": f"{model}:{folder}",
        }
        settings = load_settings(environment)
        database = Database(settings.database)
        database.migrate()
        processes = [start(command, environment) for command in ("scheduler", "worker")]
        try:
            job_cost(settings, database, raw_submission(model, data, 8, rtol), processes)
            rows = []
            for count in sorted({1, *examples}):
                raw = raw_submission(model, data, count, rtol)
                engine = _bare(settings, raw)
                job = job_cost(settings, database, raw, processes)
                again = _bare(settings, raw)
                rows.append(Row(examples=count, engine=_mean(engine, again), job=job))
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait()
            database.close()
    return rows


def _mean(one: Cost, other: Cost) -> Cost:
    return Cost(
        seconds=(one.seconds + other.seconds) / 2,
        processor=(one.processor + other.processor) / 2,
    )


def raw_submission(model: Path, data: Path, examples: int, rtol: float) -> dict[str, object]:
    """Attribute the first examples of a file of pairs."""
    source = {"path": str(data), "text_columns": ["premise", "hypothesis"], "limit": examples}
    return {"spec": {"model": {"name": str(model)}, "data": source, "rtol": rtol}}


def start(command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start `headwise COMMAND`, silent."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", command],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def job_cost(
    settings: Settings,
    database: Database,
    raw: dict[str, object],
    processes: Sequence[subprocess.Popen[bytes]] = (),
) -> Cost:
    """Submit a job and wait for it.

    processes: those that it needs, and whose processor time counts

    Raises RuntimeError where it fails, or where one of the processes has ended.
    """
    sessions = [process.pid for process in processes]
    before, started = _processor_seconds(sessions), time.time()
    job_id = submit(check(raw, settings, database), database)
    while not (job := job_reads.get_job(database, job_id)).final:
        for process in processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        time.sleep(0.5)  # asking more often would take the time that is measured
    if job.error:
        raise RuntimeError(job.error)
    first = database.value("SELECT MIN(finished_at) FROM attempt WHERE job_id = :job", job=job_id)
    return Cost(
        seconds=(job.finished_at or time.time()) - started,
        processor=_processor_seconds(sessions) - before,
        first=first - started,
    )


def _processor_seconds(sessions: Sequence[int]) -> float:
    """Processor time that all processes of some sessions have taken, those that ended included."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            values = file.read_text().rpartition(")")[2].split()
            if int(values[3]) in sessions:
                ticks += sum(map(int, values[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _bare(settings: Settings, raw: dict[str, object]) -> Cost:
    spec = parse_submission(raw).spec
    assert isinstance(spec, AttributionSpec)
    with open_rows(spec.data, settings) as data:
        texts = [(first, second) for first, second in (row.texts for row in data.rows)]
    loaded = headwise.load(spec.model.name, device="cpu")

    def attribute(count: int) -> None:
        headwise.attribute(
            loaded.model,
            loaded.tokenizer,
            texts[:count],
            rtol=spec.rtol,
            max_points=spec.max_points,
            edges=spec.edges,
            matrices=False,
            head_token_attribution=True,
        )

    attribute(8)  # as the worker's is, the model is warm
    started, before = time.perf_counter(), time.process_time()
    attribute(len(texts))
    return Cost(seconds=time.perf_counter() - started, processor=time.process_time() - before)
