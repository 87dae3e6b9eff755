"""A worker that makes no progress loses its shard, and one that cannot know of it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.ops import fleet
from db.queue import claims
from jobs.outcome import Stage, StopReason
from jobs.settings import Settings, load_settings
from jobs.specs.submission import parse_spec
from tests.helpers import hub
from tests.helpers.databases import execute, rows, sqlite_database
from tests.helpers.jobs import ALICE, planned_job
from tests.helpers.tiny import bert_folder
from tests.helpers.working import ENDS
from workers.heartbeat import HUNG, WorkerHeartbeat
from workers.worker import Worker


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, threads=1, device="cpu")


@pytest.fixture
def database(settings: Settings) -> Database:
    return sqlite_database(settings.home / "headwise.sqlite")


class Watched:
    """A heartbeat that holds a shard, and the exit statuses of its process."""

    def __init__(self, database: Database, **settings: Any) -> None:
        quick = {"heartbeat_seconds": 0.05, "control_seconds": 0.05, "stall_seconds": 86400}
        self.database = database
        self.exits: list[int] = []
        self.heartbeat = WorkerHeartbeat(
            load_settings({}, **{**quick, **settings}), database, ALICE
        )
        self.heartbeat.end_process = self.exits.append
        self.heartbeat.start()

    def hold(self) -> claims.Claim:
        held = claims.claim(self.database, ALICE, 60)
        assert held is not None
        self.heartbeat.hold(held)
        return held

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def watch(database: Database) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def start(**settings: Any) -> Watched:
        made.append(Watched(database, **settings))
        return made[-1]

    yield start
    for one in made:
        one.heartbeat.close()


@pytest.mark.parametrize("stage", [None, Stage.LOADING, Stage.COMPUTING])
def test_a_worker_that_hangs_loses_its_shard_and_ends(
    database: Database, watch: Callable[..., Watched], stage: Stage | None
) -> None:
    planned_job(database, examples=2)
    one = watch(stall_seconds=0.3)
    one.hold()
    if stage is not None:
        one.heartbeat.enter(stage)
    one.until(lambda: bool(one.exits))
    assert one.exits == [HUNG]
    ((outcome, error),) = rows(database, ENDS)
    assert outcome == "lost"
    assert "alice made no progress" in error
    assert ("while it loaded the model" in error) is (stage is Stage.LOADING)
    assert rows(database, "SELECT state, losses FROM shard") == [("ready", 1)]
    assert rows(database, "SELECT state FROM worker") == [("stopped",)]


def test_a_download_is_progress(settings: Settings, database: Database, tmp_path: Path) -> None:
    worker = Worker(settings, database)
    worker.heartbeat._moved_at -= 400
    folder = bert_folder(tmp_path / "hub")
    spec = parse_spec(
        {"model": {"name": hub.NAME}, "data": {"inline": True, "text_columns": ["a"]}}
    )
    with hub.serving(folder, tmp_path / "cache"):
        worker.models.get(spec)
    assert time.monotonic() - worker.heartbeat._moved_at < 300


def test_a_worker_that_goes_on_is_left_alone(
    database: Database, watch: Callable[..., Watched]
) -> None:
    planned_job(database, examples=2)
    one = watch(stall_seconds=0.5)
    one.hold()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        one.heartbeat.report_progress(1)
        time.sleep(0.02)
    assert one.exits == []


def test_an_idle_worker_that_looks_for_nothing_ends(
    database: Database, watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.heartbeat.IDLE_SECONDS", 0.2)
    one = watch(stall_seconds=0.3)
    one.until(lambda: bool(one.exits))
    assert one.exits == [HUNG]


def test_a_busy_worker_without_its_shard_is_no_healthy_one(
    database: Database, watch: Callable[..., Watched]
) -> None:
    planned_job(database, examples=2)
    one = watch()
    one.hold()
    execute(database, "UPDATE shard SET state = 'ready', owner = NULL")
    one.heartbeat._moved_at -= 400
    patient = one.heartbeat.settings.model_copy(update={"heartbeat_seconds": 60.0})

    def still() -> float:
        return fleet.list_workers(database, patient)[0].still or 0.0

    one.until(lambda: still() > 300)


@pytest.mark.parametrize(
    ("reason", "exits"), [(StopReason.SHUTDOWN, [0]), (StopReason.PAUSE, []), ("cancel", [])]
)
def test_a_shard_is_handed_back_while_its_model_is_loaded(
    database: Database, watch: Callable[..., Watched], reason: StopReason, exits: list[int]
) -> None:
    planned_job(database, examples=2)
    one = watch()
    one.hold()
    one.heartbeat.enter(Stage.LOADING)
    one.heartbeat.stop_attempt(StopReason(reason), "told to")
    one.until(lambda: rows(database, ENDS) == [("handed-back", "told to")])
    one.until(lambda: one.exits == exits)
    assert rows(database, "SELECT state, errors, losses FROM shard") == [("ready", 0, 0)]
