"""Settings on the test's own data folder, and an app whose messages are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from jobs.settings import Settings


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
