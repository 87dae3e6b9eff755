"""A pause keeps what whole batches have computed: what is shown never goes back, and the results
are those of a job that nobody paused."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.queue import lifecycle
from db.reads import jobs
from jobs.outcome import StopReason
from jobs.settings import Settings
from tests.helpers.databases import execute, rows
from tests.helpers.tiny import bert_folder, pairs_file
from tests.helpers.working import run, submitted
from workers.heartbeat import Stopped
from workers.worker import Worker

EXAMPLES = 16
KINDS: dict[str, dict[str, Any]] = {
    "attribution": {},
    "taylor": {"kind": "importance", "method": "taylor"},
    "leave-one-out": {"kind": "importance", "method": "leave-one-out"},
    "pruning": {
        "kind": "pruning",
        "sources": [{"job": 1, "source": "attattr"}],
        "allow_overlap": True,
        "steps": 2,
        "random": 1,
    },
    "attack": {"kind": "attack", "given": [[["cat"], ["river"]]], "insertion": "text"},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    bert_folder(tmp_path / "model")
    pairs_file(tmp_path / "pairs.jsonl", EXAMPLES)
    return Settings(home=tmp_path, threads=1, device="cpu")


@pytest.fixture(autouse=True)
def several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of different lengths do not share a batch, however few they are."""
    monkeypatch.setattr("headwise.attribution.batches._BATCH_COST", 0)


class Paused:
    """A worker that somebody stops again and again, and what pages show meanwhile."""

    def __init__(self, settings: Settings, database: Database, job: int) -> None:
        self.database, self.job = database, job
        self.worker = Worker(settings, Database(database.url))
        self.worker.start()
        self.reasons = cycle((StopReason.PAUSE, StopReason.SHUTDOWN))
        self.shown = [0]
        self.kept = 0
        self.left = self.began = 0
        self.report = self.worker.heartbeat.report_progress
        self.worker.heartbeat.report_progress = self.pass_done  # type: ignore[method-assign]

    def pass_done(self, done: int) -> None:
        self.report(done)
        self.worker.heartbeat._renew()
        self.look()
        self.left -= 1
        if self.left <= 0:
            raise Stopped(next(self.reasons))

    def look(self) -> None:
        self.shown.append(jobs.get_job(self.database, self.job).computed)

    def attempt(self, passes: int) -> bool:
        """Compute for some passes; False if there was nothing to do."""
        self.left, self.began = passes, len(self.shown) - 1
        execute(self.database, "UPDATE shard SET available_at = 0")
        found = bool(self.worker.compute_shards(1))
        self.look()
        self.kept += len(rows(self.database, "SELECT 1 FROM partial_block"))
        return found


@pytest.mark.parametrize(("kind", "threads"), [*((kind, 1) for kind in KINDS), ("attribution", 2)])
def test_a_storm_of_pauses_changes_nothing(
    settings: Settings, database: Database, kind: str, threads: int
) -> None:
    """Also of a worker with several batches at a time."""
    settings = settings.model_copy(update={"threads": threads})
    if kind == "pruning":
        submitted(settings, database)
        run(settings, database, 1000.0)
    undisturbed = submitted(settings, database, **KINDS[kind])
    run(settings, database, 1000.0)
    job = submitted(settings, database, **KINDS[kind])
    paused = Paused(settings, database, job)
    passes = 2
    while paused.attempt(passes):
        # A stop after almost every batch, and some in the middle of one.
        moved = paused.shown[-1] > paused.shown[paused.began]
        passes = 2 if moved else max(passes + 1, int(1.5 * passes))
    paused.worker.close()
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)

    assert paused.shown == sorted(paused.shown)
    assert paused.shown[-1] == EXAMPLES
    # An attack computes all texts with a trigger before it can tell about one of them.
    assert (paused.kept > 0) is (kind != "attack")
    state = "SELECT state, result_hash FROM job WHERE id = {}"
    assert rows(database, state.format(job)) == rows(database, state.format(undisturbed))
    counts = "SELECT COUNT(*), COUNT(DISTINCT example_no) FROM example_result WHERE job_id = {}"
    assert rows(database, counts.format(job)) == [(EXAMPLES, EXAMPLES)]
    same = (
        "SELECT a.example_no FROM example_result a JOIN example_result b "
        f"ON a.example_no = b.example_no AND a.job_id = {job} AND b.job_id = {undisturbed} "
        "WHERE COALESCE(a.token_attribution, '') <> COALESCE(b.token_attribution, '') "
        "OR COALESCE(a.predicted, -1) <> COALESCE(b.predicted, -1)"
    )
    assert rows(database, same) == []
    assert rows(database, "SELECT * FROM partial_block") == []


def stopped(settings: Settings, database: Database, **spec: Any) -> tuple[int, Paused]:
    """A job that was stopped in the middle of a block."""
    job = submitted(settings, database, **spec)
    paused = Paused(settings, database, job)
    for passes in range(2, 400, 2):
        assert paused.attempt(passes)
        if paused.kept:
            return job, paused
    raise AssertionError("no attempt stopped in the middle of a block")


@pytest.mark.parametrize("column", ["fingerprint = 'another'", "results = 'PK'"])
def test_what_does_not_fit_is_computed_again(
    settings: Settings, database: Database, column: str
) -> None:
    """Results of another model, or of a release that stored them otherwise."""
    job, paused = stopped(settings, database)
    value = column if database.dialect == "sqlite" else column.replace("'PK'", "'PK'::bytea")
    execute(database, f"UPDATE partial_block SET {value}")
    while paused.attempt(1_000_000):
        pass
    paused.worker.close()
    counts = f"SELECT COUNT(*) FROM example_result WHERE job_id = {job} AND error IS NULL"
    assert rows(database, counts) == [(EXAMPLES,)]
    assert rows(database, "SELECT * FROM partial_block") == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "attack"])
def test_a_deadline_stores_what_was_finished(
    settings: Settings, database: Database, kind: str
) -> None:
    """The results of these examples are those of a job that nobody stopped."""
    if kind == "pruning":
        submitted(settings, database)
        run(settings, database, 1000.0)
    undisturbed = submitted(settings, database, **KINDS[kind])
    run(settings, database, 1000.0)
    job, paused = stopped(settings, database, **KINDS[kind])
    paused.worker.close()
    execute(database, f"UPDATE job SET deadline_at = 1 WHERE id = {job}")
    lifecycle.sweep_jobs(database)
    lifecycle.finish_jobs(database)

    ended = jobs.get_job(database, job)
    assert 0 < paused.shown[-1] < EXAMPLES
    assert (ended.state, ended.examples_done) == ("failed", paused.shown[-1])
    same = (
        "SELECT a.example_no FROM example_result a JOIN example_result b "
        f"ON a.example_no = b.example_no AND a.job_id = {job} AND b.job_id = {undisturbed} "
        "WHERE COALESCE(a.token_attribution, '') = COALESCE(b.token_attribution, '') "
        "AND COALESCE(a.predicted, -1) = COALESCE(b.predicted, -1)"
    )
    assert len(rows(database, same)) == ended.examples_done
    counted = "mask_result" if kind == "pruning" else "ranking"
    query = f"SELECT DISTINCT n FROM {counted} WHERE job_id = {job}"
    assert rows(database, query) == [(ended.examples_done,)]
    assert rows(database, "SELECT * FROM partial_block") == []
