"""The queue's contract, on every broker: a message only wakes a worker, and may be lost."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from db.changes import FileChanges
from jobs.errors import UnavailableError
from jobs.settings import Settings
from scheduler.broker import WAIT_SECONDS, EmbeddedChannel, delete_delivered, make_app, ping, wake
from tests.helpers.stack import Stack, exactly_once


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("redis", marks=pytest.mark.services),
        pytest.param("rabbitmq", marks=pytest.mark.services),
    ]
)
def broker(request: pytest.FixtureRequest) -> str:
    """Address of a broker; empty for the embedded one."""
    if request.param == "embedded":
        return ""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def settings(broker: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a queue of this test's own, deleted at the end."""
    settings = Settings(home=tmp_path, broker_url=broker, queue=f"test-{uuid.uuid4().hex[:12]}")
    yield settings
    with make_app(settings).connection_for_write() as connection:
        connection.default_channel.queue_delete(settings.queue)


def received(settings: Settings, seconds: float = 3.0) -> int:
    """Take every message from the queue; returns how many there were."""
    app, count = make_app(settings), 0
    with app.connection_for_read() as connection, connection.SimpleQueue(settings.queue) as queue:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                queue.get(block=False).ack()
                count += 1
            except queue.Empty:
                time.sleep(0.05)
                if count:
                    return count
    return count


def test_each_wake_up_arrives_once(settings: Settings) -> None:
    app = make_app(settings)
    for _ in range(5):
        wake(app, settings.queue)
    time.sleep(0.5)
    assert received(settings) == 5
    assert received(settings, 0.5) == 0


def test_queues_are_separate(settings: Settings) -> None:
    wake(make_app(settings), settings.queue)
    other = settings.model_copy(update={"queue": f"{settings.queue}-b"})
    assert received(other, 0.5) == 0
    assert received(settings) == 1


def test_the_broker_answers_a_ping(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert "guest:guest" not in ping(settings)
    assert not caplog.records  # nothing about a consumer that outlived its queue


@pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0", "amqp://127.0.0.1:1//"])
def test_a_broker_that_is_away_is_reported_at_once(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler has other things to do than to wait for it."""
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda _: pytest.fail("it waited"))
    settings = Settings(home=tmp_path, broker_url=address)
    with pytest.raises(UnavailableError, match="broker"):
        wake(make_app(settings), "default")
    with pytest.raises(UnavailableError, match="broker"):
        ping(settings)


def test_delivered_messages_do_not_pile_up_in_the_embedded_broker(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    app = make_app(settings)
    for _ in range(3):
        wake(app, settings.queue)
    assert received(settings) == 3
    wake(app, settings.queue)
    size = _messages(settings)
    delete_delivered(settings)
    assert (size, _messages(settings)) == (4, 1)


def test_an_embedded_broker_whose_file_was_deleted_is_made_again(tmp_path: Path) -> None:
    """By those that have it open, and all in the same new file."""
    settings = Settings(home=tmp_path)
    app = make_app(settings)
    with app.connection_for_read() as connection, connection.SimpleQueue("default") as queue:
        wake(app, "default")
        queue.get(timeout=3).ack()
        for file in tmp_path.glob("broker.sqlite*"):
            file.unlink()
        with pytest.raises(queue.Empty):
            queue.get(block=False)
        wake(app, "default")
        queue.get(timeout=3).ack()
    assert _messages(settings) == 1


def test_two_processes_may_make_a_queue_of_the_embedded_broker_at_once(tmp_path: Path) -> None:
    """As those of `headwise up` do at its first start."""
    with make_app(Settings(home=tmp_path)).connection_for_write() as connection:
        channel = connection.default_channel

        @event.listens_for(channel.session, "before_flush", once=True)
        def the_other(*_: object) -> None:
            with closing(sqlite3.connect(tmp_path / "broker.sqlite")) as other, other:
                other.execute("INSERT INTO kombu_queue (name) VALUES ('default')")

        assert channel._get_or_create("default").name == "default"
        with connection.SimpleQueue("default") as queue:
            queue.put("a message")
            assert queue.get(timeout=3).payload == "a message"


def test_waiting_on_the_embedded_broker_ends_after_one_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery hears of its shutdown between two waits only, however long they may be."""
    waits: list[float] = []
    monkeypatch.setattr(FileChanges, "wait", lambda _, seconds, stop: waits.append(seconds))
    app = make_app(Settings(home=tmp_path))
    with (
        app.connection_for_read() as connection,
        connection.SimpleQueue("default"),
        pytest.raises(TimeoutError),
    ):
        connection.drain_events(timeout=600)
    assert waits == [WAIT_SECONDS]


def test_a_message_ends_a_wait_on_the_embedded_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WAIT_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(f"scheduler.broker.{name}", 600.0)
    app, looked = make_app(Settings(home=tmp_path)), threading.Event()
    with app.connection_for_read() as connection, connection.SimpleQueue("default") as queue:

        def take() -> None:
            while not queue.buffer:
                with suppress(TimeoutError):
                    connection.drain_events()
                looked.set()

        taking = threading.Thread(target=take)
        queue.consumer.consume()
        taking.start()
        assert looked.wait(30)  # its next look would be in ten minutes
        wake(app, "default")
        taking.join(30)
        assert len(queue.buffer) == 1


def test_a_broker_whose_file_does_not_change_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But every message is delivered, those included that came at once."""
    asked: list[str] = []
    get = EmbeddedChannel._get

    def counted(self: EmbeddedChannel, queue: str, *arguments: Any, **options: Any) -> Any:
        asked.append(queue)
        return get(self, queue, *arguments, **options)

    monkeypatch.setattr("scheduler.broker.WAIT_SECONDS", 0.01)
    monkeypatch.setattr(EmbeddedChannel, "_get", counted)
    app = make_app(Settings(home=tmp_path))
    with app.connection_for_read() as connection, connection.SimpleQueue("default") as queue:
        queue.consumer.consume()

        def waiting(times: int) -> int:
            """Number of polls in so many waits."""
            before = len(asked)
            for _ in range(times):
                with suppress(TimeoutError):
                    connection.drain_events(timeout=1)
            return len(asked) - before

        waiting(3)
        assert waiting(5) == 0
        for _ in range(3):
            wake(app, "default")
        assert waiting(5) >= 3
        assert len(queue.buffer) == 3
        assert waiting(5) == 0


def _messages(settings: Settings) -> int:
    with closing(sqlite3.connect(settings.home / "broker.sqlite")) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM kombu_message").fetchone()[0])


def runs_a_job(stack: Stack) -> None:
    """A job goes through real scheduler and worker processes, every example once."""
    try:
        stack.start("scheduler")
        stack.start("worker")
        job = stack.submit(12)
        stack.wait_for(f"SELECT state FROM jobs WHERE job_id = {job}", "succeeded")
        exactly_once(stack, job, 12)
    finally:
        stack.stop()


def test_a_job_runs_over_every_broker(settings: Settings, tmp_path: Path) -> None:
    runs_a_job(Stack(tmp_path, broker_url=settings.broker_url, queue=settings.queue))


@pytest.mark.services
def test_a_job_runs_on_postgresql_and_redis(
    postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    queue = f"test-{uuid.uuid4().hex[:12]}"
    runs_a_job(Stack(tmp_path, database_url=postgres_url, broker_url=redis_url, queue=queue))
