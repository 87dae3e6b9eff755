"""Requests as bytes, and waiting for what the server does."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.webui.server.conftest import Site, read_all

CHUNK = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"


JSON = b"Content-Type: application/json\r\n"


def head(method: str, path: str, headers: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers + b"\r\n"


def chunked(site: Site, path: str, first: bytes, headers: bytes = b"") -> bytes:
    """The answer to a chunked body of up to 20 MB, sent until the server has enough."""
    with site.connect() as one:
        one.sendall(head("POST", path, b"Transfer-Encoding: chunked\r\n" + headers))
        one.sendall(f"{len(first):x}\r\n".encode() + first + b"\r\n")
        try:
            for _ in range(640):
                one.sendall(CHUNK)
            one.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the server has closed the connection; its answer is there
        return read_all(one)


def wait_until(check: Callable[[], bool]) -> None:
    for _ in range(1000):
        if check():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")
