"""A planned job on SQLite, and a worker that computes it in this process."""

from __future__ import annotations

from typing import Any

from db.database import Database
from db.queue import lifecycle
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.submit import check, submit
from workers.worker import Worker

ENDS = "SELECT outcome, error FROM attempt ORDER BY started_at"


def submitted(settings: Settings, database: Database, **spec: Any) -> int:
    """A planned job."""
    data = {
        "path": str(settings.home / "pairs.jsonl"),
        "text_columns": ["premise", "hypothesis"],
        "label_column": "label",
    }
    raw = {
        "spec": {"model": {"name": str(settings.home / "model")}, "data": data, **spec},
        "again": True,
    }
    job = submit(check(raw, settings, database), database)
    app: Any = object()
    Scheduler(settings, database, app).plan()
    return job


def run(settings: Settings, database: Database, seconds: float) -> None:
    """Work until nothing is ready, and finish."""
    worker = Worker(settings.model_copy(update={"shard_seconds": seconds}), Database(database.url))
    worker.start()
    for _ in range(30):
        with database.write() as tx:
            tx.run("UPDATE shard SET available_at = 0")
        if not worker.compute_shards():
            break
    worker.close()
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)


def rows(database: Database, statement: str) -> list[Any]:
    with database.read() as tx:
        return [tuple(row) for row in tx.run(statement)]
