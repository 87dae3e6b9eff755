"""The watch of the chaos suite, by a clock of its own and given rows."""

from __future__ import annotations

import itertools
from typing import Any, cast

from tests.chaos.arena import Arena
from tests.chaos.watch import ATTEMPTS, CLAIMABLE, EVERY, LIMIT, ROUNDS, Watch

FIRST, SECOND = 2**30, 2**30 + 1
"""Numbers that no process of a machine has."""
NO_ROUND = f"scheduler {FIRST} has finished no round for {LIMIT:.0f} s"
NOTHING_TAKEN = f"worker {FIRST} has taken nothing, though shards were ready, for {LIMIT:.0f} s"


class Standing:
    """The watch's view of a stack: its processes, and what the database records of them."""

    def __init__(self, *, schedulers: int = 0, workers: int = 0) -> None:
        self.schedulers = [FIRST, SECOND][:schedulers]
        self.workers = [FIRST, SECOND][:workers]
        self.faulted: set[int] = set()
        self.fallen: list[str] = []
        self.recorded: dict[str, list[tuple[Any, ...]]] = {
            CLAIMABLE: [(0,)],
            ATTEMPTS: [],
            ROUNDS: [],
        }
        self.now = 0.0
        self.watch = Watch(cast(Arena, self), lambda: self.now)

    def able(self, pids: list[int]) -> list[int]:
        return [pid for pid in pids if pid not in self.faulted]

    def family(self, pid: int) -> list[int]:
        return [pid]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self.recorded[statement]

    def pass_time(self, seconds: float) -> None:
        """Look as often as a round does."""
        for _ in range(int(seconds / EVERY)):
            self.now += EVERY
            self.watch.look()

    def step_by_step(self, statement: str, *steps: list[tuple[Any, ...]]) -> list[str]:
        """Complaints when the database records one of the steps after the other, just in time."""
        for recorded in steps:
            self.recorded[statement] = recorded
            self.pass_time(LIMIT - EVERY)
        return self.watch.complaints()


def test_a_scheduler_that_finishes_no_round_is_told_of_and_one_that_does_is_not() -> None:
    made = Standing(schedulers=2)
    rounds = [[(FIRST, 100.0), (SECOND, 100.0 + LIMIT * n)] for n in range(3)]
    assert set(made.step_by_step(ROUNDS, *rounds)) == {NO_ROUND}


def test_complaints_end_once_a_scheduler_goes_on() -> None:
    made = Standing(schedulers=1)
    made.pass_time(LIMIT + 2 * EVERY)
    assert made.watch.complaints() == [NO_ROUND]
    rounds = [[(FIRST, LIMIT * n)] for n in range(1, 5)]
    assert made.step_by_step(ROUNDS, *rounds) == []


def test_a_moment_that_only_varies_is_no_progress() -> None:
    """Heartbeats record it anew, and a little differently."""
    made = Standing(schedulers=1)
    moments = [[(FIRST, 100.0 + n * 0.9)] for n in range(2)]
    assert made.step_by_step(ROUNDS, *moments) == [NO_ROUND]


def test_a_worker_is_told_of_only_while_it_could_take_a_shard() -> None:
    made = Standing(workers=1)
    made.pass_time(3 * LIMIT)
    assert made.watch.complaints() == []
    made.recorded[CLAIMABLE] = [(1,)]
    made.recorded[ATTEMPTS] = [(FIRST, 1, 1)]
    made.pass_time(3 * LIMIT)
    assert made.watch.complaints() == []
    attempts = [[(FIRST, n, 0)] for n in range(1, 4)]
    assert made.step_by_step(ATTEMPTS, *attempts) == []
    made.pass_time(LIMIT)
    assert made.watch.complaints() == [NOTHING_TAKEN]


def test_what_a_fault_stopped_is_not_told_of() -> None:
    made = Standing(schedulers=1, workers=1)
    made.recorded[CLAIMABLE] = [(1,)]
    made.faulted.add(FIRST)
    made.pass_time(3 * LIMIT)
    assert made.watch.complaints() == []


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """A machine so busy that the watch stands still is no worker's fault."""
    made = Standing(schedulers=1)
    for _ in itertools.repeat(None, 3):
        made.now += 10 * LIMIT
        made.watch.look()
    assert made.watch.complaints() == []
