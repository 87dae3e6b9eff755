"""A worker computes block by block: its results are the same for every cut, and a bad example costs
only itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from db.database import Database
from jobs.settings import Settings
from tests.helpers.databases import sqlite_database
from tests.helpers.tiny import bert_folder, pairs_file
from tests.helpers.working import rows, run, submitted
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


@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_the_cut(
    settings: Settings, database: Database, kind: str
) -> None:
    for seconds in (1e-6, 1000.0):
        submitted(settings, database, **KINDS[kind])
        run(settings, database, seconds)
    counts = "SELECT COUNT(*) FROM shard GROUP BY job_id ORDER BY job_id"
    # Single blocks; then the first one, and all the others for the only worker.
    assert rows(database, counts) == [(5,), (2,)]
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
