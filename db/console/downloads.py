"""Results on disk, which readers fetch at their own speed: bounded in bytes and in number.

A query writes its whole result first, so that a slow reader keeps neither the database nor a turn
waiting. What waits on disk is bounded in turn: a reader that is slower than the slowest speed loses
its file as soon as another download needs the space.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jobs.errors import UnavailableError

PIECE = 1 << 16
GRACE_SECONDS = 60.0
SLOWEST = 250_000
"""Bytes per second that a reader must take, beyond the grace, to be sure of its file."""


class Download:
    """One result on disk; its file has no name, so it goes with its process."""

    def __init__(self, client: str, size: int, folder: Path | None) -> None:
        self.client = client
        self.size = size
        self.deadline: float | None = None
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by Downloads
        self._lock = threading.Lock()
        self._dropped = False

    @contextmanager
    def replaced(self, folder: Path | None) -> Iterator[IO[bytes]]:
        """Put an empty file in the place of the present one, which is given and then closed."""
        with self.file as before:
            self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by Downloads
            yield before

    def finish(self) -> None:
        """Start the reader's time: the file has its final size."""
        self.size = self.file.seek(0, 2)
        self.deadline = time.monotonic() + GRACE_SECONDS + self.size / SLOWEST

    def pieces(self) -> Iterator[bytes]:
        """Yield the file. Raises UnavailableError when it was dropped for other readers."""
        place = 0
        while place < self.size:
            with self._lock:
                if self._dropped:
                    raise UnavailableError(
                        "The download was too slow; its file is gone.", what="Download"
                    )
                self.file.seek(place)
                piece = self.file.read(PIECE)
            place += len(piece)
            yield piece

    def drop(self) -> None:
        """Give the space on disk back."""
        with self._lock:
            self._dropped = True
            self.file.truncate(0)


class Downloads:
    """The downloads of one process."""

    def __init__(self, *, space: int, per_client: int) -> None:
        self._space = space
        self._per_client = per_client
        self._lock = threading.Lock()
        self._open: set[Download] = set()

    @contextmanager
    def open(self, client: str, size: int, folder: Path | None) -> Iterator[Download]:
        """Reserve `size` bytes for a download. Raises UnavailableError when there is no room."""
        with self._lock:
            self._make_room(client, size)
            download = Download(client, size, folder)
            self._open.add(download)
        try:
            yield download
        finally:
            with self._lock:
                self._open.discard(download)
            download.file.close()

    def _make_room(self, client: str, size: int) -> None:
        now = time.monotonic()
        overdue = [d for d in self._open if d.deadline is not None and d.deadline < now]
        for download in overdue:
            self._open.discard(download)
            download.drop()
        if sum(download.client == client for download in self._open) >= self._per_client:
            message = f"{self._per_client} downloads of yours are open. Finish one of them first."
            raise UnavailableError(message, what="Download")
        if sum(download.size for download in self._open) + size > self._space:
            message = "Too many downloads are open. Try again in a minute."
            raise UnavailableError(message, what="Download")
