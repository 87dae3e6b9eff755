"""The Celery app of the scheduler."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from jobs.errors import UnavailableError
from jobs.settings import Settings
from scheduler.broker import delete_delivered, make_app, wake

# The app.


def test_messages_are_acknowledged_early_and_never_prefetched(settings: Settings) -> None:
    conf = make_app(settings).conf
    assert not conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_ignore_result
    assert conf.accept_content == ["json"]


def test_waking_works_on_a_broker_in_memory(settings: Settings) -> None:
    app = make_app(settings.model_copy(update={"broker_url": "memory://"}))
    with app.connection_for_read() as connection, connection.SimpleQueue("default") as queue:
        queue.clear()
        wake(app, "default")
        message = queue.get(block=False)
        assert message.headers["task"] == "headwise.wake"
        # The worker compares this with its own clock, which may be an hour ahead.
        left = datetime.fromisoformat(message.headers["expires"]) - datetime.now(UTC)
        assert timedelta(hours=12) < left < timedelta(days=2)


def test_a_broker_file_without_tables_is_a_broker_that_does_not_answer(
    settings: Settings,
) -> None:
    delete_delivered(settings)
    sqlite3.connect(settings.home / "broker.sqlite").close()
    (settings.home / "broker.sqlite").touch()
    with pytest.raises(UnavailableError, match="no such table"):
        delete_delivered(settings)
