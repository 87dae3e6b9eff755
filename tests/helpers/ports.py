"""Ports for servers of tests that run side by side."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

# Below the range from which the system gives ports to outgoing connections. Processes start at
# different places, and each gives a port once: another may look before a server listens on it.
LOWEST, COUNT = 10_000, 20_000
_places = itertools.count(os.getpid() * 101)


def free_port() -> int:
    """A port on which nothing listens."""
    for place in itertools.islice(_places, COUNT):
        port = LOWEST + place % COUNT
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")
