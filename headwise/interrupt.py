"""Ctrl-C at points where a model can be put back as it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back; the function that this gives raises it as KeyboardInterrupt, if it came.

    Python raises KeyboardInterrupt between any two instructions, also between the change of a
    model and the note that it has to be undone. On leaving, one that was held is raised. Where
    the program has a handler of its own, or outside the main thread, nothing is changed.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: None
        return
    came = False

    def hold(*_: object) -> None:
        nonlocal came
        came = True

    def check() -> None:
        nonlocal came
        if came:
            came = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hold)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        check()
