"""The dashboard behind its own server, on a real port, and sockets that misbehave."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from jobs.settings import Settings, load_settings
from tests.helpers.apps import new_app
from tests.helpers.databases import sqlite_database
from tests.helpers.ports import free_port
from webui.accounts.permissions import READS, RULES
from webui.server import bodies, connections, serve
from webui.server.gateway import Gateway
from webui.server.serve import make_server


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The only problem of a JSON answer."""
        (found,) = json.loads(self.body)["problems"]
        assert isinstance(found, dict)
        return found


class Site:
    """A running dashboard."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self.app = app
        self.port = settings.port
        self.gateway = Gateway(app)
        self.server = make_server(self.gateway, settings)
        self.thread = threading.Thread(target=self.server.run)
        self.sockets = ExitStack()

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it and its threads, and close what a test has left open."""
        self.sockets.close()
        self.server.should_exit = True
        self.thread.join(20)
        self.gateway.close()
        assert not self.thread.is_alive()

    def connect(self) -> socket.socket:
        """A new connection."""
        one = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.sockets.enter_context(one)

    def read_slowly(self, path: str) -> socket.socket:
        """A connection that has asked for a page and read its first bytes."""
        one = self.sockets.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(20)
        one.connect(("127.0.0.1", self.port))
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        one.recv(10)
        return one

    def get(self, path: str, method: str = "GET", **options: Any) -> Reply:
        """Send one request and read its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, **options)
            found = connection.getresponse()
            headers = {name.lower(): value for name, value in found.getheaders()}
            return Reply(status=found.status, headers=headers, body=found.read())
        finally:
            connection.close()

    def raw(self, sent: bytes) -> bytes:
        """Send bytes and read until the server closes the connection."""
        with self.connect() as one:
            one.sendall(sent)
            return read_all(one)


def read_all(one: socket.socket) -> bytes:
    """Bytes that come until the other side closes the connection."""
    found = b""
    while piece := one.recv(1 << 16):
        found += piece
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a data folder of their own, and SQLite: no database has a part in this."""
    sqlite_database(tmp_path / "headwise.sqlite").close()
    return load_settings({}, home=tmp_path, upload_megabytes=1)


@pytest.fixture
def make_site(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """A function that starts a dashboard; `change` may add to its application first.

    `reads` names the endpoints that it adds: without a permission they would answer nobody.
    """
    sites: list[Site] = []

    def start(
        change: Callable[[Flask], None] = lambda _: None, reads: Collection[str] = ()
    ) -> Site:
        chosen = settings.model_copy(update={"port": free_port()})
        with monkeypatch.context() as patched:
            for endpoint in reads:
                patched.setitem(RULES, endpoint, READS)
            app = new_app(chosen)
        change(app)
        site = Site(app, chosen)
        site.start()
        sites.append(site)
        return site

    yield start
    for site in sites:
        site.stop()
        site.app.extensions["headwise"].database.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A running dashboard."""
    return make_site()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines of a second, so that tests need not wait for the real ones."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connections, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(serve, "KEEP_ALIVE_SECONDS", 1)
