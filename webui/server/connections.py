"""Connections with deadlines: uvicorn's HTTP/1.1, closed when a client is too slow.

uvicorn itself waits for ever for the rest of a request's head, and for a reader.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

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
LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\ncontent-length: 52\r\n"
    b"connection: close\r\n\r\nThe request did not arrive in time. Send it at once."
)
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 48\r\n"
    b"retry-after: 5\r\nconnection: close\r\n\r\nToo many connections. Try again in a few seconds"
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
