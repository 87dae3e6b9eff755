"""Clients that send or read slowly, or not at all: they hold no thread and stop nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from flask import Flask, Response

from tests.webui.server.conftest import Site, read_all
from tests.webui.server.raw_requests import head, wait_until
from webui.server import connections, gateway


@pytest.mark.usefixtures("impatient")
def test_heads_that_drip_are_closed_and_stop_nobody(site: Site) -> None:
    slow = [site.connect() for _ in range(100)]
    closed = 0
    for byte in b"GET / HTTP/1.1\r\nHost: l"[:22]:
        for one in slow:
            try:
                one.send(bytes([byte]))
            except OSError:
                closed += 1
        assert site.get("/healthz").status == 200
        if closed >= len(slow):
            break
        time.sleep(0.15)
    for one in slow:
        one.settimeout(5)
        with suppress(ConnectionError):
            assert one.recv(1 << 16)[:12] in (b"", b"HTTP/1.1 408")
    assert closed >= len(slow)


@pytest.mark.usefixtures("impatient")
def test_a_connection_without_a_request_is_closed(site: Site) -> None:
    with site.connect() as one:
        assert one.recv(100) in (b"", connections.LATE[:100])


@pytest.mark.usefixtures("impatient")
def test_bodies_that_drip_are_closed_and_stop_nobody(site: Site) -> None:
    slow = [site.connect() for _ in range(80)]
    for one in slow:
        one.sendall(head("POST", "/api/v1/uploads", b"Content-Length: 900000\r\n"))
    for _ in range(12):
        for one in slow:
            try:
                one.send(b"x")
            except OSError:
                continue
        assert site.get("/api/v1/jobs").status == 200
        time.sleep(0.15)
    for one in slow:
        assert one.recv(12) == b"HTTP/1.1 408"


@pytest.mark.usefixtures("impatient")
def test_slow_readers_hold_no_thread_and_are_closed(make_site: Callable[..., Site]) -> None:
    closed = threading.Semaphore(0)

    def add(app: Flask) -> None:
        @app.get("/stream")
        def stream() -> Response:
            def pieces() -> Iterator[bytes]:
                for _ in range(10_000):
                    yield b"x" * 60_000

            response = Response(pieces(), mimetype="text/csv")
            response.call_on_close(closed.release)
            return response

        @app.get("/large")
        def large() -> bytes:
            return b"x" * 8_000_000

    site = make_site(add, reads=["stream", "large"])
    for path in ["/stream"] * 4 + ["/large"] * 20:
        site.read_slowly(path)
    assert site.get("/api/v1/jobs").status == 200
    for _ in range(4):
        assert closed.acquire(timeout=20)
    wait_until(lambda: not site.server.server_state.tasks)


def test_slow_readers_share_a_space(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "WAITING", 20_000_000)

    def add(app: Flask) -> None:
        app.add_url_rule("/large", "large", lambda: b"x" * 8_000_000)

    site = make_site(add, reads=["large"])
    slow = []
    for _ in range(10):
        slow.append(site.read_slowly("/large"))
        assert len(site.server.server_state.connections) <= 3
    for one in slow[:8]:  # given up long before their time was over
        assert len(read_all(one)) < 8_000_000
    assert len(site.get("/large").body) == 8_000_000  # a fast one is sent whole, nonetheless
    assert len(site.get("/large").body) == 8_000_000


def test_idle_connections_make_room_for_new_ones(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
    for _ in range(60):
        site.connect()
    assert site.get("/healthz").status == 200
    wait_until(lambda: len(site.server.server_state.connections) <= 20)
