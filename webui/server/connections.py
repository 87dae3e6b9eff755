"""Connections with deadlines: uvicorn's HTTP/1.1, closed when a client is too slow.

uvicorn itself waits for ever for the rest of a request's head, and for a reader.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from jobs.errors import Problem
from webui.contract import problems

MOST_CONNECTIONS = 1_000
"""Beyond them the oldest that waits for a request is closed."""
HEAD_SECONDS = 10.0
"""For the head of a request, from the first byte, or from the connection for the first request."""
STALL_SECONDS = 20.0
"""For a reader to take what waits for it: about 300 kB with the system's buffer."""
ANSWER_SECONDS = 3600.0
"""For a whole answer."""
SEND_BUFFER = 1 << 17
"""Bytes that the system buffers: it reports a slow reader's progress in steps of this size."""
LOOK_SECONDS = 1.0
MOST_HEAD = 16_384
"""Bytes of the head of a request, which are those of an address and of the headers together."""


def whole_answer(status: HTTPStatus, message: str, remedy: str) -> bytes:
    """An answer that ends its connection, for requests that do not reach the application."""
    problem = Problem(field="request", value=None, message=message, remedy=remedy)
    body = problems.body(status, status.phrase, [problem])
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"content-type: {problems.MEDIA_TYPE}",
        f"content-length: {len(body)}",
        "x-content-type-options: nosniff",
        "connection: close",
    ]
    if status in problems.RETRY_SECONDS:
        head.append(f"retry-after: {problems.RETRY_SECONDS[status]}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


LATE = whole_answer(
    HTTPStatus.REQUEST_TIMEOUT,
    "the request did not arrive in time",
    "Send the whole request without pauses.",
)
FULL = whole_answer(
    HTTPStatus.SERVICE_UNAVAILABLE, "there are too many connections", "Try again in a few seconds."
)
LONG_ADDRESS = whole_answer(
    HTTPStatus.REQUEST_URI_TOO_LONG,
    f"the address is longer than {MOST_HEAD:,} bytes",
    "Shorten it; texts belong into the body of a POST.",
)
LONG_HEADERS = whole_answer(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"the headers are longer than {MOST_HEAD:,} bytes",
    "Send fewer or shorter ones.",
)
MALFORMED = whole_answer(
    HTTPStatus.BAD_REQUEST, "the request is not HTTP/1.1", "See RFC 9112, or use a library."
)


class Connection(H11Protocol):
    """One connection; it looks at its own deadlines once a second."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # uvicorn copies it into the scope of every request.
        self.app_state = {**self.app_state, "connection": self}
        self.head_since: float | None = None
        """Time at which the awaited request head began; None while none is awaited."""
        self._answer_since: float | None = None
        self._stalled_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_gone(self) -> bool:
        """True once nothing reaches the client any more."""
        return bool(self.transport.is_closing())

    @property
    def is_idle(self) -> bool:
        """True while no request is being read or answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the first deadline; make room for the connection, or refuse it."""
        super().connection_made(transport)
        if (own := transport.get_extra_info("socket")) is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.head_since = self.loop.time()
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def _make_room(self) -> None:
        """Close the oldest connection that waits for a request; without one, refuse this one."""
        live = [c for c in self.connections if isinstance(c, Connection) and not c.is_gone]
        if len(live) <= MOST_CONNECTIONS:
            return
        idle = [one for one in live if one is not self and one.is_idle]
        if idle:
            min(idle, key=lambda one: one.head_since or 0.0).transport.abort()
        else:
            self.transport.write(FULL)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the deadlines."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the deadline of a head at its first byte, and end it with the last."""
        if self.is_idle and self.head_since is None:
            self.head_since = self.loop.time()
        super().data_received(data)
        if not self.is_idle:
            self.head_since = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser cannot read, in the middle of a request too.

        Where an answer has begun, only the end of the connection tells of it.
        """
        if self.is_idle:
            self.transport.write(self._refusal())
        elif not self.cycle.response_started:
            self.cycle.response_started = self.cycle.response_complete = True
            self.transport.write(MALFORMED)
        self.transport.close()

    def _refusal(self) -> bytes:
        hint = getattr(sys.exc_info()[1], "error_status_hint", HTTPStatus.BAD_REQUEST)
        if hint != HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            return MALFORMED
        return LONG_HEADERS if b"\n" in self.conn.trailing_data[0] else LONG_ADDRESS

    def pause_writing(self) -> None:
        """Start the deadline of a reader: more waits for it than it takes."""
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """End the deadline of a reader."""
        self._stalled_since = None
        super().resume_writing()

    def _look(self) -> None:
        now = self.loop.time()
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)
        waits = self.transport.get_write_buffer_size() > 0
        if not waits:
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = now
        if waits or not self.is_idle:
            self._answer_since = self._answer_since or now
        else:
            self._answer_since = None
        if _over(self._stalled_since, STALL_SECONDS, now) or _over(
            self._answer_since, ANSWER_SECONDS, now
        ):
            self.transport.abort()
        elif self.is_idle and _over(self.head_since, HEAD_SECONDS, now):
            if self.transport.is_closing():
                self.transport.abort()
            else:
                self.transport.write(LATE)
                self.transport.close()


class Waiting:
    """Answers that wait for their readers, bounded together: slow readers share the space.

    space: bytes of all of them
    """

    def __init__(self, space: int) -> None:
        self._left = space
        self._held: dict[Connection, int] = {}

    @contextmanager
    def hold(self, connection: Connection, size: int) -> Iterator[None]:
        """Hold an answer; where there is no space, those held longest are given up."""
        self._held[connection] = size
        self._left -= size
        while self._left < 0 and (oldest := next(iter(self._held))) is not connection:
            oldest.transport.abort()
            self._release(oldest)
        try:
            yield
        finally:
            self._release(connection)

    def _release(self, connection: Connection) -> None:
        self._left += self._held.pop(connection, 0)


def _over(since: float | None, seconds: float, now: float) -> bool:
    return since is not None and now - since > seconds
