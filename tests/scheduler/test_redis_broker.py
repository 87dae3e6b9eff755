"""Connections to Redis that the server closes while a worker is busy."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue
from redis import Redis

from jobs.settings import load_settings
from scheduler.broker import make_app

pytestmark = pytest.mark.services


def drain(connection: Connection, holds: Callable[[], bool]) -> None:
    """Handle what arrives until something holds."""
    for _ in range(100):
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=0.2)
        if holds():
            return
    raise AssertionError("it never came to hold")


def close_from_afar(url: str, connection: Any) -> None:
    """Let the server close an idle connection."""
    connection.send_command("CLIENT", "ID")
    number = connection.read_response()
    with Redis.from_url(url) as other:
        other.client_kill_filter(_id=number)


def test_the_socket_of_a_closed_connection_is_forgotten(redis_url: str) -> None:
    """Also if another process has it open, as one has that was forked meanwhile."""
    got: list[Any] = []
    queue = Queue(f"test-{uuid.uuid4().hex}", expires=60)
    app = make_app(load_settings({}, broker_url=redis_url))
    with app.connection_for_read() as connection, app.producer_or_acquire() as producer:
        channel = connection.default_channel
        channel.basic_qos(0, 1, False)  # the next message comes when this one is acknowledged
        with Consumer(channel, [queue], callbacks=[lambda _, message: got.append(message)]):

            def receive(count: int) -> None:
                producer.publish({}, routing_key=queue.name)
                drain(connection, lambda: len(got) == count)

            receive(1)
            copy = os.dup(channel.client.connection._sock.fileno())
            try:
                close_from_afar(redis_url, channel.client.connection)
                drain(connection, lambda: channel.client.connection._sock is None)
                got[0].ack()
                receive(2)
                assert connection.transport.cycle.poller.poll(0) == []
                with pytest.raises(TimeoutError):
                    connection.drain_events(timeout=0.2)
                assert channel.client.connection._sock is not None
                got[1].ack()
                receive(3)
            finally:
                os.close(copy)
