"""Bodies of requests, read whole before a thread is taken: within bytes and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from webui.server.rooms import FullError

Receive = Callable[[], Awaitable[dict[str, Any]]]

IN_MEMORY = 1 << 16
"""Bytes of one body in memory; the rest is in a temporary file."""
GRACE_SECONDS = 15.0
SLOWEST = 50_000
"""Bytes per second that a body must come with, beyond the grace."""


class TooLargeError(Exception):
    """A body has more bytes than its address takes."""


class TooSlowError(Exception):
    """A body did not come in time."""


class GoneError(Exception):
    """The client left before its body was whole."""


class Bodies:
    """The bodies that a process reads and holds, bounded together.

    space: bytes of all bodies together
    """

    def __init__(self, space: int) -> None:
        self._left = space

    @asynccontextmanager
    async def read(
        self, receive: Receive, most: int, declared: int | None
    ) -> AsyncIterator[tuple[IO[bytes], int]]:
        """Read one body and hold it: a file at its start, and its size in bytes.

        What counts is what arrives; a declared length only ends things early. Raises TooLargeError,
        TooSlowError, GoneError, and FullError when bodies take all the space there is.
        """
        if declared is not None and declared > most:
            raise TooLargeError
        size = 0
        with SpooledTemporaryFile(IN_MEMORY) as file:
            try:
                async for piece in _pieces(receive):
                    size += len(piece)
                    self._left -= len(piece)
                    if size > most:
                        raise TooLargeError
                    if self._left < 0:
                        raise FullError
                    file.write(piece)
                file.seek(0)
                yield file, size
            finally:
                self._left += size


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    now = asyncio.get_running_loop().time
    began, size, more = now(), 0, True
    while more:
        patience = began + GRACE_SECONDS + size / SLOWEST - now()
        try:
            message = await asyncio.wait_for(receive(), patience)
        except TimeoutError:
            raise TooSlowError from None
        if message["type"] == "http.disconnect":
            raise GoneError
        piece = message.get("body", b"")
        size, more = size + len(piece), message.get("more_body", False)
        yield piece


async def discard(receive: Receive) -> None:
    """Read on for a moment: a client that still sends would lose the answer with a reset."""
    left = 128 << 20
    try:
        async with asyncio.timeout(5):
            async for piece in _pieces(receive):
                left -= len(piece)
                if left < 0:
                    return
    except (TimeoutError, TooSlowError, GoneError):
        return
