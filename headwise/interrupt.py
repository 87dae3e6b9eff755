"""Ctrl-C at points where a model can be restored."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Defer Ctrl-C in this context.

    The context gives a function that raises KeyboardInterrupt if Ctrl-C was pressed; leaving the
    context does the same. Otherwise Python could raise it between a change of a model and the
    registration of its undoing. Nothing changes outside the main thread, or if the program handles
    SIGINT itself.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: None
        return
    pressed = False

    def hold(*_: object) -> None:
        nonlocal pressed
        pressed = True

    def check() -> None:
        nonlocal pressed
        if pressed:
            pressed = False
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hold)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        check()
