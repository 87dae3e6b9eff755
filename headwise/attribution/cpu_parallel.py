"""Several batches at a time on a CPU.

Of the operators of a pass only the larger ones use several threads; between them all but one
wait. On two cores, two batches at a time with one thread each were 1.3 to 1.4 times as fast as
one with two threads, and many times as fast while other programs used the cores too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context

import torch

from headwise.errors import FAILURES
from headwise.replay import Replay

# More lanes than this would wait for each other in Python, and each needs memory for its pass.
_MOST_LANES = 4

Work = Callable[[Replay, Callable[[], None]], None]
"""(replay, tick) -> None: takes batches until there are none, and calls tick after each pass."""


def lanes(device: torch.device) -> int:
    """How many batches to run at a time: 1 on a GPU, else a share of torch's threads each."""
    return min(torch.get_num_threads(), _MOST_LANES) if device.type == "cpu" else 1


class _StoppedError(Exception):
    """Ends a lane because another one, or the caller, has failed."""


def run(replay: Replay, count: int, work: Work, tick: Callable[[], None]) -> None:
    """Do the work in ``count`` threads, each with its own replay of the same parameters.

    This thread is one of them, and the only one that calls ``tick``. The first exception of any
    of them stops the others behind their running pass, and is raised when all have ended.
    """
    try:
        twins = [replay.twin() for _ in range(count - 1)]
    except FAILURES:
        twins = []  # not every model can be copied
    if not twins:
        work(replay, tick)
        return
    errors: list[BaseException] = []

    def tick_elsewhere() -> None:
        if errors:
            raise _StoppedError

    def tick_here() -> None:
        tick_elsewhere()
        tick()

    def lane(twin: Replay) -> None:
        torch.set_num_threads(share)
        try:
            work(twin, tick_elsewhere)
        except BaseException as error:  # noqa: BLE001 - ``run`` raises it
            errors.append(error)

    share = torch.get_num_threads() // count
    threads = [threading.Thread(target=copy_context().run, args=(lane, twin)) for twin in twins]
    with _threads(share):
        for thread in threads:
            thread.start()
        try:
            work(replay, tick_here)
            _wait(threads, tick_here)
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def _wait(threads: Sequence[threading.Thread], tick: Callable[[], None]) -> None:
    for thread in threads:
        while thread.is_alive():
            thread.join(0.1)
            tick()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """How many threads torch's operators use."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
