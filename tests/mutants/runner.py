"""Runs tests against mutants, each in a process of its own.

The process is forked once the libraries are imported and before any code of the project is. It then
reads one module with its change, which costs a second less than a new interpreter, and needs no
copy of the project.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

import pytest

from tests.mutants.mutations import ROOT, Mutant

LIBRARIES = (
    "alembic.command celery hypothesis.stateful kombu numpy psycopg pydantic sqlalchemy structlog "
    "sqlalchemy.dialects.postgresql sqlalchemy.dialects.sqlite torch transformers.modeling_utils "
    # Plugins of pytest, which loads them before any test.
    "pytest_cov.plugin pytest_timeout schemathesis.pytest.plugin xdist.plugin"
).split()
PROJECT = ("headwise", "jobs", "db", "scheduler", "workers", "webui", "cli")


class Outcome(StrEnum):
    """The result of running tests against a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"
    """Counts as killed: the change made something endless."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A mutant and the tests that may kill it; without a mutant they must pass."""

    name: str
    mutant: Mutant | None
    tests: tuple[str, ...]


def preload() -> None:
    """Import the libraries that every trial needs."""
    for name in LIBRARIES:
        importlib.import_module(name)


def run(
    trials: Iterable[Trial], report: Callable[[Trial, Outcome], None], *, jobs: int, seconds: float
) -> None:
    """Run trials in `jobs` processes at a time, each for so many seconds at most."""
    loaded = [name for name in sys.modules if name.split(".")[0] in PROJECT]
    assert not loaded, f"a mutant could not replace what is imported: {loaded}"
    waiting = iter(trials)
    running: dict[int, tuple[Trial, float]] = {}
    try:
        while True:
            while len(running) < jobs and (trial := next(waiting, None)):
                running[_start(trial)] = (trial, time.monotonic() + seconds)
            if not running:
                return
            for pid, (trial, deadline) in list(running.items()):
                outcome = _outcome(pid, deadline)
                if outcome is not None:
                    del running[pid]
                    report(trial, outcome)
            time.sleep(0.02)
    finally:
        for pid in running:
            _kill(pid)


def _start(trial: Trial) -> int:
    """Fork a process that ends with the status of the tests."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.setsid()
        status = _run_tests(trial)
    finally:
        sys.stdout.flush()
        os._exit(status)


def _run_tests(trial: Trial) -> int:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    if trial.mutant is not None:
        sys.meta_path.insert(0, _Finder(trial.mutant))
    preloaded = "ignore::pytest.PytestAssertRewriteWarning"
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", preloaded, f"--rootdir={ROOT}"]
    return int(pytest.main([*options, *trial.tests]))


def _outcome(pid: int, deadline: float) -> Outcome | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        return Outcome.SURVIVED if status == 0 else Outcome.KILLED
    if time.monotonic() > deadline:
        _kill(pid)
        return Outcome.TIMED_OUT
    return None


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the mutated module, and leaves every other to the finders behind it."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        name = mutant.path.removesuffix(".py").replace("/", ".")
        self.name = name.removesuffix(".__init__")

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.name:
            return None
        loader = _Loader(self.mutant)
        return importlib.util.spec_from_file_location(name, ROOT / self.mutant.path, loader=loader)


class _Loader(importlib.abc.Loader):
    """Runs the mutated source."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def exec_module(self, module: ModuleType) -> None:
        code: CodeType = compile(self.mutant.mutated, str(ROOT / self.mutant.path), "exec")
        exec(code, module.__dict__)
