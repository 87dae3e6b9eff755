"""The Celery app. A message only wakes a worker: the database decides what it does.

Messages are acknowledged on arrival (redelivering one would be pointless), results are not stored,
and a wake-up that no worker takes expires.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Empty
from typing import Any, ClassVar

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.sqlalchemy import Channel, Transport
from kombu.transport.sqlalchemy.models import metadata

from db.changes import FileChanges
from db.database import WRITTEN_BY_ANOTHER
from jobs.errors import UnavailableError
from jobs.settings import Settings

BROKER = "Broker"
WAIT_SECONDS = 0.25
"""Longest time for which nobody looks whether the process is to stop."""
POLL_SECONDS = 5.0
"""Longest time between two polls for a message of a queue in whose file nothing changes: none can
have come, so it is for faults alone."""


class EmbeddedChannel(Channel):
    """kombu's SQL channel, extended to notice that its file was deleted or replaced.

    Otherwise a process would keep using the deleted file while newer ones use another.
    """

    _files: ClassVar[dict[str, tuple[int, int] | None]] = {}
    """Device and inode of the file that this process has open, by its address."""

    _pinned = False
    """True while an operation runs: it stays with the file that was there at its beginning."""

    @property
    def session(self) -> Any:
        """The channel's session, on the file that is there now."""
        if self._pinned:
            return super().session
        address = str(self.connection.client.hostname)
        if self._files.get(address, ...) != _identity(address):
            engine, _ = self._open()  # type: ignore[no-untyped-call]
            engine.dispose()
            metadata.create_all(engine)
            self._files[address] = _identity(address)
        if getattr(self, "_file", ...) != self._files[address]:
            if self._session is not None:
                self._session.close()
            self._session, self._file = None, self._files[address]
        return super().session

    def _put(self, queue: str, *arguments: Any, **options: Any) -> None:
        with self._pin():
            super()._put(queue, *arguments, **options)  # type: ignore[no-untyped-call]

    def _get(self, queue: str, *arguments: Any, **options: Any) -> Any:
        with self._pin():
            return super()._get(queue, *arguments, **options)  # type: ignore[no-untyped-call]

    @contextmanager
    def _pin(self) -> Iterator[None]:
        """Stay in one session: its objects belong to no other."""
        self.session  # noqa: B018 - on the file that is there now
        self._pinned = True
        try:
            yield
        finally:
            self._pinned = False

    def _get_or_create(self, queue: str) -> Any:
        """The row of a queue, which another process may insert at the same moment."""
        try:
            return super()._get_or_create(queue)  # type: ignore[no-untyped-call]
        except WRITTEN_BY_ANOTHER:
            self.session.rollback()
            return super()._get_or_create(queue)  # type: ignore[no-untyped-call]


class EmbeddedBroker(Transport):
    """kombu's SQL transport, which polls when the file changes and returns after one poll.

    It slept for a second between polls. Celery waits up to two seconds for messages, and once more
    after it was told to stop, so a worker would react to SIGTERM four seconds late.
    """

    Channel = EmbeddedChannel

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)  # type: ignore[no-untyped-call]
        self._changes = FileChanges(str(_file(client.hostname)))
        self._never = threading.Event()
        self._empty_until = 0.0
        """Time until which no message is there, unless the file changes."""

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> None:
        """Deliver a message; raises TimeoutError if none arrives in time."""
        if timeout != 0:
            changed = self._changes.wait(min(timeout or WAIT_SECONDS, WAIT_SECONDS), self._never)
            if not changed and time.monotonic() < self._empty_until:
                raise TimeoutError
        self._empty_until = 0.0
        try:
            super().drain_events(connection, 0.0, **options)  # type: ignore[no-untyped-call]
        except TimeoutError:
            # A channel that must not take another message yet has not looked.
            if all(channel.qos.can_consume() for channel in self.channels):
                self._empty_until = time.monotonic() + POLL_SECONDS
            raise

    def close_connection(self, connection: Any) -> None:
        """Close the channels, and the look at the file."""
        super().close_connection(connection)  # type: ignore[no-untyped-call]
        self._changes.close()


def _file(address: str) -> Path:
    """The file of the embedded broker, by its address with or without the name of the transport."""
    return Path(address.removeprefix("sqla+").removeprefix("sqlite:///"))


def _is_embedded(broker: str) -> bool:
    return broker.startswith("sqla+sqlite")


def _identity(address: str) -> tuple[int, int] | None:
    try:
        found = _file(address).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


TRANSPORT_ALIASES["sqla"] = f"{__name__}:{EmbeddedBroker.__name__}"
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "scheduler.redis_broker:RedisBroker"))

WAKE = "headwise.wake"
ANNOUNCE_SECONDS = 30.0
"""Seconds after which a shard that no worker claimed is announced again."""
ANSWER_SECONDS = 5
"""Seconds that a server may take to answer, or to take a message."""
AT_ONCE: dict[str, Any] = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
"""A broker that is away is reported at once; the second try is for addresses of two brokers. The
four seconds of kombu's retries would stop a round of the scheduler, which asks again later."""
MESSAGE_SECONDS = 86_400.0
"""Time for which a wake-up is valid. Workers compare it with their own clock, so it must be far
longer than clocks are wrong by: otherwise a worker whose clock is ahead would discard every
message."""


def make_app(settings: Settings) -> Celery:
    """Create the Celery app."""
    app = Celery("headwise", broker=settings.broker, set_as_current=False)
    if _is_embedded(settings.broker):
        _file(settings.broker).parent.mkdir(parents=True, exist_ok=True)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=settings.queue,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=5,
        broker_transport_options=_patience(settings.broker),
        # Users' requests go through the database. Celery's own queue for them is exclusive to one
        # worker of a host on RabbitMQ, and the embedded broker has none.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_redirect_stdouts=False,
    )
    return app


def _patience(broker: str) -> dict[str, object]:
    """Bound every wait for a broker that is away, or takes connections and says nothing."""
    if broker.startswith("amqp"):
        return {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS, **AT_ONCE}
    if broker.startswith("redis"):
        connecting = {"socket_connect_timeout": 5.0, "socket_keepalive": True, **AT_ONCE}
        return {"socket_timeout": ANSWER_SECONDS, **connecting}
    return {}


def delete_delivered(settings: Settings) -> None:
    """Delete delivered messages from the embedded broker, whose transport never does."""
    file = _file(settings.broker)
    if not _is_embedded(settings.broker) or not file.exists():
        return
    try:
        with closing(sqlite3.connect(file, timeout=5)) as connection, connection:
            connection.execute("DELETE FROM kombu_message WHERE visible = 0")
    except sqlite3.OperationalError as error:
        raise _silent(error) from error


def wake(app: Celery, queue: str) -> None:
    """Publish a wake-up. Raises UnavailableError if the broker does not answer."""
    broken = (OperationalError, OSError, *app.connection_for_write().connection_errors)
    try:
        app.send_task(WAKE, queue=queue, expires=MESSAGE_SECONDS, retry=False, ignore_result=True)
    except broken as error:
        raise _silent(error) from error


def ping(settings: Settings) -> str:
    """Send a message through the broker and receive it; returns the address without a password.

    Raises UnavailableError if the broker does not answer, or takes no messages.
    """
    try_broker(make_app(settings), f"headwise.ping.{uuid.uuid4().hex}")
    return shown_address(settings)


def try_broker(app: Celery, name: str) -> None:
    """Send a message through a queue of this name and receive it.

    Raises UnavailableError if the broker does not answer, or takes no messages.
    """
    reach(app)
    with app.connection_for_write() as connection:
        broken = (OperationalError, *connection.connection_errors, *connection.channel_errors)
        try:
            queue = connection.SimpleQueue(name, queue_opts={"expires": 60.0})
            queue.put("ping")
            queue.get(timeout=5).ack()
            # Otherwise RabbitMQ cancels it itself, which arrives while the channel closes.
            queue.consumer.cancel()
            queue.queue.delete()
        except (*broken, Empty) as error:
            message = f"The broker takes no messages: {error or 'none came back'}"
            raise UnavailableError(message, what=BROKER) from error


def reach(app: Celery) -> None:
    """Connect to the broker once. Raises UnavailableError if it does not answer."""
    with app.connection_for_write() as connection:
        broken = (OperationalError, OSError, *connection.connection_errors)
        try:
            connection.ensure_connection(timeout=5, **AT_ONCE)
        except broken as error:
            raise _silent(error) from error


def _silent(error: BaseException) -> UnavailableError:
    return UnavailableError(f"The broker does not answer: {error}", what=BROKER)


def shown_address(settings: Settings) -> str:
    """Return the broker's address without its password."""
    return str(Connection(settings.broker).as_uri())  # type: ignore[no-untyped-call]
