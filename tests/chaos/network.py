"""A network that can be cut: packets vanish in both directions, and nobody is told.

A process in its namespace reaches the stack's servers through a pair of virtual interfaces.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess

from tests.helpers.services import binary

BENCHMARKS = "198.18"
"""The first half of the addresses that are reserved for tests of networks (RFC 2544)."""
NOBODY = "02:00:00:00:00:01"
"""A hardware address that no interface has."""


class Network:
    """A network namespace and its connection to this one. Needs root and iproute2."""

    def __init__(self) -> None:
        """Raises NoNetworkError where this process may not, or cannot, make one."""
        third, fourth = random.randrange(256), 4 * random.randrange(64)
        self.here = f"{BENCHMARKS}.{third}.{fourth + 1}"
        self.there = f"{BENCHMARKS}.{third}.{fourth + 2}"
        self.name = f"hw{os.getpid()}-{third}-{fourth}"
        self._link = f"hw{third}.{fourth}"
        if binary("ip") is None:
            raise NoNetworkError("the program ip, of iproute2")
        try:
            self._ip("netns", "add", self.name)
            self._ip("link", "add", self._link, "type", "veth", "peer", "eth0", "netns", self.name)
            self._ip("addr", "add", f"{self.here}/30", "dev", self._link)
            self._ip("link", "set", self._link, "up")
            self._inside("addr", "add", f"{self.there}/30", "dev", "eth0")
            self._inside("link", "set", "eth0", "up")
            self._inside("link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            self.close()
            raise NoNetworkError(f"the right to make namespaces: {error.stderr.strip()}") from error

    def cut(self) -> None:
        """Lose every packet from now on, as a cable does that is pulled out far away."""
        self._ip("neigh", "replace", self.there, "lladdr", NOBODY, "dev", self._link)
        self._inside("neigh", "replace", self.here, "lladdr", NOBODY, "dev", "eth0")

    def heal(self) -> None:
        """Let packets through again."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it was not cut
            self._ip("neigh", "del", self.there, "dev", self._link)
            self._inside("neigh", "del", self.here, "dev", "eth0")

    def close(self) -> None:
        """Remove it."""
        for what in (("link", "del", self._link), ("netns", "del", self.name)):
            with contextlib.suppress(subprocess.CalledProcessError):
                self._ip(*what)

    def _inside(self, *arguments: str) -> None:
        self._ip("-n", self.name, *arguments)

    def _ip(self, *arguments: str) -> None:
        command = [binary("ip") or "", *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True)


class NoNetworkError(Exception):
    """Its message is what this machine lacks."""
