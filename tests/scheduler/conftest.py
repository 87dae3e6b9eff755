"""Settings on the test's own data folder, and an app whose messages are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from db.database import Database
from db.ops import fleet
from db.ops.fleet import ProcessState
from jobs.settings import Settings
from scheduler.loop import Scheduler
from tests.helpers.jobs import ALICE, BOB


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with `tmp_path/home` as the only readable folder."""
    home = tmp_path / "home"
    home.mkdir()
    return Settings(home=home)


class FakeApp:
    """As much of a Celery app as waking needs: it remembers messages, or is out of reach."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.reachable = True

    def connection_for_write(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ensure_connection(self, **_: object) -> None:
        if not self.reachable:
            raise ConnectionError("refused")

    @property
    def connection_errors(self) -> tuple[type[Exception], ...]:
        return (ConnectionError,)

    def send_task(self, _name: str, *, queue: str, **_options: object) -> None:
        if not self.reachable:
            raise OperationalError("[Errno 111] Connection refused")
        self.sent.append(queue)


@pytest.fixture
def app() -> FakeApp:
    """A broker that only counts."""
    return FakeApp()


@pytest.fixture
def scheduler(database: Database, settings: Settings, app: Any) -> Scheduler:
    return Scheduler(settings, database, app)


@pytest.fixture
def two_workers(database: Database) -> None:
    """Alice and Bob have nothing to do."""
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
    fleet.report_worker(database, BOB, ProcessState.IDLE)


@pytest.fixture
def one_worker(database: Database) -> None:
    """Alice has nothing to do."""
    fleet.report_worker(database, ALICE, ProcessState.IDLE)
