"""A worker computes block by block: its results are the same for every cut, and a bad example costs
only itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from db.database import Database
from db.queue import lifecycle
from jobs.settings import Settings
from scheduler.loop import Scheduler
from scheduler.submission.submit import check, submit
from tests.helpers.databases import sqlite_database
from tests.helpers.tiny import bert_folder, pairs_file
from workers import executor
from workers.block import Block
from workers.worker import Worker, gpu_responds

EXAMPLES = 40
KINDS: dict[str, dict[str, Any]] = {
    "attribution": {},
    "importance": {"kind": "importance", "method": "leave-one-out"},
    "attack": {"kind": "attack", "given": [[["cat"], ["river"]]], "insertion": "text"},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    bert_folder(tmp_path / "model")
    pairs_file(tmp_path / "pairs.jsonl", EXAMPLES)
    return Settings(home=tmp_path, threads=1, device="cpu")


@pytest.fixture
def database(settings: Settings) -> Database:
    database = sqlite_database(settings.home / "headwise.sqlite")
    return database


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


@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_the_cut(
    settings: Settings, database: Database, kind: str
) -> None:
    for seconds in (1e-6, 1000.0):
        submitted(settings, database, **KINDS[kind])
        run(settings, database, seconds)
    counts = "SELECT COUNT(*) FROM shard GROUP BY job_id ORDER BY job_id"
    # Single blocks; then half of what is left each time.
    assert rows(database, counts) == [(5,), (4,)]
    (first, second) = rows(database, "SELECT state, result_hash FROM job ORDER BY id")
    assert first == second
    assert first[0] == "succeeded"
    examples = "SELECT example_no, predicted, probabilities FROM example_result WHERE job_id = "
    assert rows(database, examples + "1 ORDER BY 1") == rows(database, examples + "2 ORDER BY 1")


def test_a_bad_example_is_marked_and_the_rest_succeeds(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    attribute = executor.COMPUTE["attribution"]

    def fragile(block: Block[Any]) -> Any:
        if block.shard.lo <= 21 < block.shard.lo + len(block.shard.texts):
            raise IndexError("index out of range in self")
        return attribute(block)

    monkeypatch.setitem(executor.COMPUTE, "attribution", fragile)
    submitted(settings, database)
    run(settings, database, 1000.0)
    assert rows(database, "SELECT state, error FROM job") == [("succeeded", None)]
    assert rows(database, "SELECT example, error FROM examples WHERE error IS NOT NULL") == [
        (21, "IndexError: index out of range in self")
    ]
    assert rows(database, "SELECT DISTINCT n FROM head_importance") == [(EXAMPLES - 1,)]
    ((fences,),) = rows(database, "SELECT SUM(fence) FROM shard")
    assert rows(database, "SELECT COUNT(*) FROM attempt") == [(fences,)]


def test_a_full_disk_is_no_examples_fault(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_block: Block[Any]) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(executor.COMPUTE, "attribution", full)
    submitted(settings, database)
    run(settings, database, 1000.0)
    assert rows(database, "SELECT state, COUNT(*) FROM shard GROUP BY state") == [
        ("failed", 5),
    ]
    ((state, error),) = rows(database, "SELECT state, error FROM job")
    assert state == "failed"
    assert "No space left" in error


@pytest.mark.parametrize("answers", [True, False])
def test_a_worker_stops_when_its_gpu_no_longer_responds(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """One shard is tried, and what raised is counted as ever; with a healthy GPU all are."""
    submitted(settings, database)
    submitted(settings, database)

    def raising(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(executor.Attempt, "compute", raising)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", (lambda: None) if answers else raising)
    worker = Worker(settings, Database(database.url))
    worker.start()
    attempts = worker.compute_shards()
    worker.close()
    assert worker.gpu_failed is not answers
    assert (attempts > 1) is answers
    with database.read() as tx:
        ends = tx.run("SELECT outcome, error FROM attempt").all()
    assert len(ends) == attempts
    assert all(outcome == "error" and "illegal memory" in error for outcome, error in ends)


def test_a_gpu_that_was_never_used_is_not_asked() -> None:
    assert gpu_responds()
