"""The cost of the job system: a job through queue, worker and database against the bare engine.

Both attribute the same texts with the same model and settings, one after the other, on a warm
process: the job's clock runs from submit to succeeded.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import headwise
from db.database import Database
from db.reads import jobs as job_reads
from jobs.inputs.data import open_rows
from jobs.kinds.attribution import AttributionSpec
from jobs.settings import Settings, load_settings
from jobs.specs.submission import parse_submission
from scheduler.submission.submit import check, submit


@dataclass(frozen=True, kw_only=True)
class Row:
    """Seconds of the bare engine and of the job, and what the job adds as a share."""

    examples: int
    engine: float
    job: float

    @property
    def overhead(self) -> float:
        """The time that the job adds to the bare engine's, as a share of the latter."""
        return self.job / self.engine - 1


def run(model: Path, data: Path, *, examples: int, rtol: float = 1e-2) -> Row:
    """Measure the bare engine, the job, and the bare engine again: its mean is compared."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "HEADWISE_HOME": folder,
            "HEADWISE_ALLOWED_FOLDERS": f"{model}:{data.parent}",
        }
        settings = load_settings(environment)
        database = Database(settings.database)
        database.migrate()
        processes = [start(command, environment) for command in ("scheduler", "worker")]
        try:
            job_seconds(settings, database, raw_submission(model, data, 8, rtol), processes)
            engine = _bare(settings, raw_submission(model, data, examples, rtol))
            job = job_seconds(
                settings, database, raw_submission(model, data, examples, rtol), processes
            )
            again = _bare(settings, raw_submission(model, data, examples, rtol))
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait()
            database.close()
    return Row(examples=examples, engine=(engine + again) / 2, job=job)


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
    )


def job_seconds(
    settings: Settings,
    database: Database,
    raw: dict[str, object],
    processes: Sequence[subprocess.Popen[bytes]] = (),
) -> float:
    """Submit a job and wait for it; seconds.

    Raises RuntimeError where it fails, or where one of the processes that it needs has ended.
    """
    started = time.perf_counter()
    job_id = submit(check(raw, settings, database), database)
    while not (job := job_reads.get_job(database, job_id)).final:
        for process in processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        time.sleep(0.5)  # asking more often would take the time that is measured
    if job.error:
        raise RuntimeError(job.error)
    return time.perf_counter() - started


def _bare(settings: Settings, raw: dict[str, object]) -> float:
    spec = parse_submission(raw).spec
    assert isinstance(spec, AttributionSpec)
    with open_rows(spec.data, settings) as data:
        texts = [(first, second) for first, second in (row.texts for row in data.rows)]
    loaded = headwise.load(spec.model.name)
    started = time.perf_counter()
    headwise.attribute(
        loaded.model,
        loaded.tokenizer,
        texts,
        rtol=spec.rtol,
        max_points=spec.max_points,
        edges=spec.edges,
        matrices=False,
    )
    return time.perf_counter() - started
