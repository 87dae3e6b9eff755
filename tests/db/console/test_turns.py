"""Turns of the SQL console: nobody starves, nobody waits for ever, and the queue is short."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from db.console.turns import TurnLimits, Turns
from jobs.errors import UnavailableError

LIMITS = TurnLimits(running=2, running_per_client=1, waiting=4, waiting_per_client=3)


def wait_until(true: object) -> None:
    """Wait until a callable says True."""
    assert callable(true)
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come true")


class Line:
    """Clients that queue in threads, and the order in which they got their turns."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.order, self.threads = turns, list[str](), list[threading.Thread]()
        self.go = threading.Semaphore(0)

    def join(self, client: str) -> None:
        """Queue, hold the turn until `go` is released, leave."""
        waiting = len(self.turns._waiting)

        def queue() -> None:
            with self.turns.turn(client, 20):
                self.order.append(client)
                self.go.acquire()

        thread = threading.Thread(target=queue)
        thread.start()
        self.threads.append(thread)
        wait_until(lambda: len(self.turns._waiting) > waiting or client in self.order)


@contextmanager
def queued(turns: Turns) -> Iterator[Line]:
    """A line whose threads all end."""
    line = Line(turns)
    try:
        yield line
    finally:
        for _ in line.threads:
            line.go.release()
        for thread in line.threads:
            thread.join(20)
            assert not thread.is_alive()


def test_another_client_comes_before_the_next_query_of_a_busy_one() -> None:
    turns = Turns(LIMITS)
    with queued(turns) as line:
        for client in ("eve", "eve", "eve", "ada"):
            line.join(client)
        wait_until(lambda: line.order == ["eve", "ada"])  # one at a time of each
        line.join("bob")
    assert sorted(line.order) == ["ada", "bob", "eve", "eve", "eve"]
    assert line.order.index("bob") < len(line.order) - 1  # before the last of the busy one


def test_the_least_recent_client_is_next() -> None:
    turns = Turns(TurnLimits(running=1, running_per_client=1, waiting=9, waiting_per_client=9))
    with queued(turns) as line:
        for client in ("a", "a", "a", "b", "c", "b"):
            line.join(client)
        for _ in range(6):
            line.go.release()
        wait_until(lambda: len(line.order) == 6)
        assert line.order == ["a", "b", "c", "a", "b", "a"]


def test_waiting_is_bounded_in_number() -> None:
    turns = Turns(LIMITS)
    with queued(turns) as line:
        for client in ("eve", "eve", "eve", "eve"):
            line.join(client)
        with pytest.raises(UnavailableError, match="queries of yours"), turns.turn("eve", 20):
            pass
        line.join("ada")
        line.join("ada")
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="too many queries"), turns.turn("bob", 20):
            pass
        assert time.monotonic() - began < 1  # at once, not after its patience


def test_waiting_is_bounded_in_time() -> None:
    turns = Turns(LIMITS)
    with turns.turn("eve", 1):
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="running"), turns.turn("eve", 0.3):
            pass
        assert 0.2 < time.monotonic() - began < 5
        with turns.turn("ada", 1):
            pass
    with turns.turn("eve", 1):
        pass


def test_alone_waits_for_those_that_run_and_holds_the_rest() -> None:
    turns = Turns(LIMITS)
    with queued(turns) as line, ExitStack() as stack:
        line.join("eve")
        stack.enter_context(turns.turn("ada", 1))
        with turns.alone(0.2) as quiet:
            assert not quiet  # eve runs
            with turns.alone(0.2) as nested:
                assert not nested
        line.go.release()
        with turns.alone(5) as quiet:
            assert quiet
            with pytest.raises(UnavailableError), turns.turn("bob", 0.1):
                pass
        with turns.turn("bob", 1):
            pass
