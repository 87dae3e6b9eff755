"""Servers of tests."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.helpers import services

LISTENER = """
import pathlib, socket, sys, time
seen = pathlib.Path("seen")
if seen.exists():
    server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
seen.touch()
time.sleep(600)
"""


class Reluctant(services.Server):
    """Stands still at its first start."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", LISTENER, str(self.port)]


def test_a_server_that_stands_still_while_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "START_SECONDS", 3.0)
    server = Reluctant(tmp_path)
    try:
        server.start()
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        assert (tmp_path / "seen").exists()
    finally:
        server.stop()
