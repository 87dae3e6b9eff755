"""Turns of the SQL console: few queries at once, a short queue, and nobody ahead of everybody."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from db.console.messages import CONSOLE
from jobs.errors import UnavailableError


@dataclass(frozen=True, kw_only=True)
class TurnLimits:
    """Most queries that run and wait at a time, in all and per client."""

    running: int
    running_per_client: int
    waiting: int
    waiting_per_client: int


@dataclass(eq=False)
class _Ticket:
    client: str
    number: int


class Turns:
    """Give turns to clients: first to the one with the fewest running, then to the least recent."""

    def __init__(self, limits: TurnLimits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._running: Counter[str] = Counter()
        self._waiting: list[_Ticket] = []
        self._given: dict[str, int] = {}
        self._numbers = 0
        self._closed = False

    @contextmanager
    def turn(self, client: str, patience: float) -> Iterator[None]:
        """Hold a turn. Raises UnavailableError when too many wait, or after `patience` seconds."""
        self._take(client, patience)
        try:
            yield
        finally:
            with self._changed:
                self._running[client] -= 1
                self._running += Counter()  # drops the zeros
                self._changed.notify_all()

    @contextmanager
    def alone(self, patience: float) -> Iterator[bool]:
        """Within a turn: give no other and wait for those that run; True when none is left."""
        with self._changed:
            if self._closed:
                yield False
                return
            self._closed = True
            quiet = self._changed.wait_for(lambda: self._running.total() <= 1, patience)
        try:
            yield quiet
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()

    def _take(self, client: str, patience: float) -> None:
        with self._changed:
            self._numbers += 1
            ticket = _Ticket(client, self._numbers)
            self._waiting.append(ticket)
            try:
                if not self._is_next(ticket):
                    self._check_queue(client)
                    if not self._changed.wait_for(lambda: self._is_next(ticket), patience):
                        raise _busy(f"{self._limits.running} queries are running")
                self._running[client] += 1
                self._given[client] = self._numbers = self._numbers + 1
                if len(self._given) > 1_000:
                    self._given.clear()
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _check_queue(self, client: str) -> None:
        own = sum(ticket.client == client for ticket in self._waiting)
        if own > self._limits.waiting_per_client:
            raise _busy("too many queries of yours are waiting")
        if len(self._waiting) > self._limits.waiting:
            raise _busy("too many queries are waiting")

    def _is_next(self, ticket: _Ticket) -> bool:
        most = self._limits.running_per_client
        ready = [one for one in self._waiting if self._running[one.client] < most]
        return (
            not self._closed
            and self._running.total() < self._limits.running
            and ticket in ready
            and ticket is min(ready, key=self._rank)
        )

    def _rank(self, ticket: _Ticket) -> tuple[int, int, int]:
        client = ticket.client
        return self._running[client], self._given.get(client, 0), ticket.number


def _busy(why: str) -> UnavailableError:
    message = f"The SQL console is busy: {why}. Try again in a few seconds."
    return UnavailableError(message, what=CONSOLE)
