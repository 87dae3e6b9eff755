"""Commands in processes that have imported everything already.

A worker's imports (torch, transformers) take five seconds of a core, every time it starts. Here one
server imports them, and every command is a fork of it: a process of its own, that ends and may be
killed as any other.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOADED = (
    *("cli.main", "scheduler.loop", "workers.batch", "workers.celery_worker", "workers.worker"),
    *("celery.concurrency.prefork", "transformers.models.bert.modeling_bert"),
    "tests.helpers.warm_dashboard",
)
_context = multiprocessing.get_context("forkserver")


class Command:
    """A running `headwise ARGUMENTS`, with as much of `subprocess.Popen` as tests use.

    Its output goes to a file, it sees the given environment alone, and it runs in the given folder.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        folder: Path | None = None,
    ) -> None:
        _context.set_forkserver_preload([*PRELOADED])
        given = (arguments, dict(environment), str(log), str(folder or Path.cwd()))
        self._process = _context.Process(target=_run, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns its status, the negative number of a signal that ended it."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("headwise", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def _run(arguments: Sequence[str], environment: Mapping[str, str], log: str, folder: str) -> None:
    os.chdir(folder)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["headwise", *arguments]
    from cli.main import main

    main()
