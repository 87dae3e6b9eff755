"""Summaries of a job's data for its check, remembered while the file does not change.

A form is checked at each pause in typing; its data file is read once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import InputError, Problem
from jobs.inputs.data.examples import allowed_path, summarize_rows, touch_upload
from jobs.inputs.data.rows import Summary
from jobs.settings import Settings
from jobs.specs.base import DataSpec

MOST_FILES, MOST_CHARACTERS = 64, 8_000_000
"""Files, and selections from them, that a process remembers, and about the characters of all."""
PROBLEM_SECONDS = 60.0
"""A refusal may have been one of time, so it is not kept for ever."""


@dataclass(frozen=True, kw_only=True)
class _Remembered:
    found: Summary | tuple[Problem, ...]
    at: float


class _Memory:
    """The latest summaries, by file and selection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[object, _Remembered] = OrderedDict()

    def get(self, key: object) -> Summary | None:
        """A summary, or None. Raises InputError where reading was refused a moment ago."""
        with self._lock:
            known = self._known.get(key)
            if known is None:
                return None
            self._known.move_to_end(key)
        if isinstance(known.found, Summary):
            return known.found
        if time.monotonic() - known.at < PROBLEM_SECONDS:
            raise InputError(known.found)
        return None

    def keep(self, key: object, found: Summary | tuple[Problem, ...]) -> None:
        with self._lock:
            self._known[key] = _Remembered(found=found, at=time.monotonic())
            self._known.move_to_end(key)
            while len(self._known) > MOST_FILES or self._size() > MOST_CHARACTERS:
                self._known.popitem(last=False)

    def _size(self) -> int:
        return sum(one.found.size for one in self._known.values() if isinstance(one.found, Summary))


_memory = _Memory()


def summarize(
    spec: DataSpec, settings: Settings, inline: Sequence[Mapping[str, object]] | None = None
) -> Summary:
    """Look at the rows that a spec selects, if they are not known.

    A file is known by its path, size, time of change and inode. Raises the errors of `open_rows`.
    """
    key = _key(spec, settings)
    if key is None:
        return summarize_rows(spec, settings, inline)
    if (known := _memory.get(key)) is not None:
        touch_upload(Path(str(key[0])), settings)
        return known
    found: Summary | tuple[Problem, ...] = ()
    try:
        found = summarize_rows(spec, settings)
        return found
    except InputError as error:
        found = error.problems
        raise
    finally:
        if found and key == _key(spec, settings):  # nobody wrote to it meanwhile
            _memory.keep(key, found)


def _key(spec: DataSpec, settings: Settings) -> tuple[object, ...] | None:
    """The key of a summary; None for data that is not in a file, or not readable."""
    if spec.inline or spec.dataset:
        return None
    path = allowed_path("data.path", str(spec.path), settings)
    try:
        about = path.stat()
    except OSError:
        return None
    # An upload's path has the hash of its content, and reading it sets its time.
    uploaded = path.is_relative_to(settings.uploads.resolve())
    changed = 0 if uploaded else about.st_mtime_ns
    limits = (
        settings.max_examples_per_job,
        settings.max_line_bytes,
        settings.data_megabytes,
        settings.data_seconds,
    )
    return path, about.st_size, changed, about.st_ino, spec.model_dump_json(), limits
