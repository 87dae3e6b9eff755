"""Summaries of a job's data for its check, remembered while the file does not change.

A form is checked at each pause in typing; its data file is read once.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import InputError, Problem
from jobs.inputs.data import Rows, allowed_path, read_rows, touch_upload
from jobs.settings import Settings
from jobs.specs.base import DataSpec

MOST_FILES = 64
"""Files, and selections from them, that a process remembers."""
MOST_LABELS = 10_000
"""Different labels that are remembered of one of them; a submission looks at all."""
PROBLEM_SECONDS = 60.0
"""A refusal may have been one of time, so it is not kept for ever."""

LONGEST_TEXTS, LONGEST_CHARACTERS = 64, 200_000
"""The number of the longest texts that are remembered, and their characters together."""


@dataclass(frozen=True, kw_only=True)
class LongText:
    """A row whose text is among the longest."""

    place: str
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Facts about selected rows, without most of their texts."""

    examples: int
    fingerprint: str
    format: str
    first_texts: tuple[str, ...]
    """The texts of the first row, as far as a page shows them."""
    labels: tuple[object, ...]
    """The different labels, in the order in which they come."""
    places: tuple[str, ...]
    """By label, where it comes first."""
    counts: tuple[int, ...]
    """By label, the number of its rows."""
    class_labels: bool
    """Numbers in the label column have names in the data (ClassLabel)."""
    longest: tuple[LongText, ...]
    """Rows to try a tokenizer on."""


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
            while len(self._known) > MOST_FILES:
                self._known.popitem(last=False)


_memory = _Memory()


def summarize(
    spec: DataSpec, settings: Settings, inline: Sequence[Mapping[str, object]] | None = None
) -> tuple[Summary, Rows | None]:
    """Look at the rows that a spec selects; with the rows themselves if they had to be read.

    A file is known by its path, size, time of change and inode. Raises InputError as `read_rows`.
    """
    key = _key(spec, settings)
    if key is not None and (known := _memory.get(key)) is not None:
        touch_upload(Path(str(key[0])), settings)
        return known, None
    try:
        rows = read_rows(spec, settings, inline)
    except InputError as error:
        if key is not None and key == _key(spec, settings):
            _memory.keep(key, error.problems)
        raise
    found = _summary(rows)
    if key is not None and key == _key(spec, settings):  # nobody wrote to it meanwhile
        _memory.keep(key, found)
    return found, rows


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


def _summary(rows: Rows) -> Summary:
    first: dict[str, tuple[object, str]] = {}
    counts: Counter[str] = Counter()
    for label, place in zip(rows.labels, rows.places, strict=True):
        key = repr(label)
        if key in first or len(first) < MOST_LABELS:
            first.setdefault(key, (label, place))
            counts[key] += 1
    texts = [rows.text_a[0], *(rows.text_b[:1] if rows.text_b else ())]
    return Summary(
        examples=len(rows),
        fingerprint=rows.fingerprint(),
        format=rows.format,
        first_texts=tuple(text[:300] for text in texts),
        labels=tuple(label for label, _ in first.values()),
        places=tuple(place for _, place in first.values()),
        counts=tuple(counts[key] for key in first),
        class_labels=rows.class_labels,
        longest=tuple(_longest(rows)),
    )


def _longest(rows: Rows) -> Iterator[LongText]:
    second = rows.text_b or [""] * len(rows)
    sizes = [len(a) + len(b) for a, b in zip(rows.text_a, second, strict=True)]
    left = LONGEST_CHARACTERS
    for row in heapq.nlargest(LONGEST_TEXTS, range(len(rows)), key=sizes.__getitem__):
        if sizes[row] <= left:
            left -= sizes[row]
            parts = (rows.text_a[row], *(second[row : row + 1] if rows.text_b else ()))
            yield LongText(place=rows.places[row], parts=parts)
