"""systemd's watchdog: a process that goes on says so, and is ended when it no longer does.

The protocol of sd_notify(3) is a datagram to the socket that NOTIFY_SOCKET names. Without the
variable nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid

SOCKET = "NOTIFY_SOCKET"


class Relay:
    """A socket that a child process speaks to in the service manager's place."""

    def __init__(self) -> None:
        self.name = f"@headwise-{os.getpid()}-{uuid.uuid4().hex}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.name.replace("@", "\0"))

    def heard(self) -> bool:
        """Return True if the child has gone on since the last call."""
        found = False
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(100):
                found = True
        return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def went_on() -> None:
    """Say that this process has gone on. Never raises or waits."""
    address = os.environ.get(SOCKET, "")
    if address[:1] not in ("/", "@"):
        return
    # A name with @ is abstract: its first byte is 0.
    path = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(b"WATCHDOG=1", path)
