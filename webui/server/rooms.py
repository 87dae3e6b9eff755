"""Rooms: a few threads and a short queue for each kind of request, so that none starves another."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from webui.server.routes import RoomName

P = ParamSpec("P")
T = TypeVar("T")


class FullError(Exception):
    """Everybody who may run or wait does so already."""


class Room:
    """Threads for one kind of request. Used by the event loop alone.

    threads: requests that run at a time
    waiting: requests that wait besides; one more is refused at once
    patience: longest wait, in seconds
    """

    def __init__(self, name: str, *, threads: int, waiting: int, patience: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = asyncio.Semaphore(threads)
        self._most = threads + waiting
        self._patience = patience
        self._inside = 0

    def check(self) -> None:
        """Raise FullError if one more request would be refused."""
        if self._inside >= self._most:
            raise FullError

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[None]:
        """Hold a thread's place. Raises FullError when too many wait, or for too long."""
        self.check()
        self._inside += 1
        try:
            try:
                await asyncio.wait_for(self._free.acquire(), self._patience)
            except TimeoutError:
                raise FullError from None
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._inside -= 1

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in one of the room's threads."""
        loop = asyncio.get_running_loop()
        # Log lines of the thread name the request, too.
        context = contextvars.copy_context()
        return await loop.run_in_executor(self._pool, lambda: context.run(call, *args, **kwargs))

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def make_rooms() -> dict[RoomName, Room]:
    """The rooms of the dashboard.

    Together pages, checks, operators and downloads have fewer threads than the database's pool has
    connections, so nobody waits for one. The console's threads wait for its turns, see
    `db.console.turns`: more of them than have a turn or wait for one, so that it can refuse.
    """
    return {
        RoomName.OPERATORS: Room("operators", threads=2, waiting=30, patience=10),
        RoomName.PAGES: Room("pages", threads=6, waiting=100, patience=10),
        RoomName.CHECKS: Room("checks", threads=3, waiting=9, patience=20),
        # Each of its threads has a process of 150 MB.
        RoomName.FIGURES: Room("figures", threads=2, waiting=24, patience=20),
        RoomName.DOWNLOADS: Room("downloads", threads=3, waiting=3, patience=5),
        RoomName.CONSOLE: Room("console", threads=16, waiting=32, patience=5),
    }
