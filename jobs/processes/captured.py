"""Everything that a process says becomes log lines: warnings, uncaught errors, and prints.

For `HEADWISE_LOG_FORMAT=json`, where whoever collects the lines parses each of them.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from types import TracebackType
from typing import TextIO

import structlog

log = structlog.get_logger()


def capture() -> None:
    """Log what Python and libraries would write to standard error. Call it after `configure_logs`.

    What the interpreter writes as it crashes (a segmentation fault, the stacks of a process that is
    ended because it hangs) stays as it is.
    """
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable
    if not isinstance(sys.stderr, Lines):
        sys.stderr = Lines(sys.stderr)


class Lines(io.TextIOBase):
    """A stream whose lines are logged; log lines themselves go to the stream below."""

    def __init__(self, below: TextIO) -> None:
        super().__init__()
        self.below = below
        self._own = threading.local()

    def write(self, text: str) -> int:
        """Log whole lines, and keep the rest of each thread until its line ends."""
        if getattr(self._own, "logging", False):  # what logging itself says of a broken line
            return self.below.write(text)
        *lines, self._own.rest = (getattr(self._own, "rest", "") + text).split("\n")
        self._own.logging = True
        try:
            for line in lines:
                # Of a progress bar, which draws over itself, the last state.
                if shown := line.rstrip().rpartition("\r")[2].strip():
                    log.warning(shown, source="stderr")
        finally:
            self._own.logging = False
        return len(text)

    def flush(self) -> None:
        """Flush the stream below."""
        self.below.flush()

    def fileno(self) -> int:
        """Return the descriptor of the stream below."""
        return self.below.fileno()

    def isatty(self) -> bool:
        """Say that nobody reads along: progress bars are not drawn."""
        return False

    def writable(self) -> bool:
        """Say that it can be written."""
        return True


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("uncaught error", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else None
        about = (args.exc_type, args.exc_value, args.exc_traceback)
        log.error("uncaught error in a thread", thread=name, exc_info=about)


def _unraisable(args: sys.UnraisableHookArgs) -> None:
    about = (args.exc_type, args.exc_value, args.exc_traceback)
    log.error(args.err_msg or "error ignored", object=repr(args.object)[:200], exc_info=about)
