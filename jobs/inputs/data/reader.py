"""Reading data files in a process of its own, within limits of memory, time and size.

Rows stay there, or go to a temporary file: only their summary comes back.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jobs.errors import InputError, Problem, UnavailableError, refuse
from jobs.inputs.data.rows import HashedRow, LongText, Summary
from jobs.processes.limited_process import ask, end, start

MEMORY = 1 << 30
"""Bytes of address space of the reading process."""
MOST_BYTES = 16 << 20
"""Longest answer: far above what a summary or a head can have."""


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """The rows to read of a data file, and the limits."""

    path: Path
    name: str
    """The file's name for messages; its suffix says the format."""
    text_columns: Sequence[str] = ()
    """None for the first ``limit`` rows with all their columns."""
    label_column: str | None = None
    offset: int = 0
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    max_rows: int = 0
    """More rows are refused, unless a sample is drawn from them; 0 means no limit."""
    max_line_bytes: int = 1 << 20
    max_bytes: int = 256 << 20
    """Characters of all texts of the selected rows together."""
    seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Head:
    """The first rows of a file."""

    format: str
    """Format of the file, in words."""
    rows: list[dict[str, object]]


class StoredRows:
    """The rows in a file that `summarize_file` has filled; they may be read several times."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[HashedRow]:
        self._file.seek(0)
        for line in self._file:
            number, place, texts, label, text_hash = json.loads(line)
            yield HashedRow(number, place, tuple(texts), label, text_hash)


def read_head(request: ReadRequest) -> Head:
    """Read the first rows of a file, with all their columns; long values are cut.

    Raises InputError as `summarize_file`.
    """
    found = _answer(request)
    return Head(format=found["format"], rows=found["heads"])


def summarize_file(request: ReadRequest, into: IO[bytes] | None = None) -> Summary:
    """Look at a file's rows.

    into: takes the rows, for `StoredRows`

    Raises InputError, which names the row at fault, and where the file would take more memory, time
    or space than is allowed.
    """
    found: dict[str, Any] = _answer(request, into)["summary"]
    for name in ("first_texts", "labels", "places", "counts"):
        found[name] = tuple(found[name])
    found["longest"] = tuple(LongText(place, tuple(parts)) for place, parts in found["longest"])
    return Summary(**found)


def _answer(request: ReadRequest, into: IO[bytes] | None = None) -> Mapping[str, Any]:
    return _Process(request, into).answer()


class _Process:
    """One run of the reading process."""

    def __init__(self, request: ReadRequest, into: IO[bytes] | None) -> None:
        self.request = request
        self._files = () if into is None else (into.fileno(),)
        self._late = False

    def answer(self) -> Mapping[str, Any]:
        """Return its answer. Raises InputError and UnavailableError."""
        child = start("jobs.inputs.data.reader_process", files=self._files)
        timer = threading.Timer(self.request.seconds, self._end, (child,))
        timer.daemon = True
        timer.start()
        try:
            ask(child, self._asked())
            assert child.stdout is not None
            said = child.stdout.readline(MOST_BYTES)
            if not said.endswith(b"\n"):
                raise self._death(child.wait())
        finally:
            timer.cancel()
            end(child)

        found: Mapping[str, Any] = json.loads(said)
        if "problems" in found:
            raise InputError([Problem(**one) for one in found["problems"]])
        if "memory" in found:
            raise self._too_large()
        return found

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        self._late = True
        child.kill()

    def _asked(self) -> Mapping[str, object]:
        own = {"path": str(self.request.path), "memory": MEMORY, "into": [*self._files, None][0]}
        return self.request.__dict__ | own

    def _death(self, status: int) -> Exception:
        if self._late or status == -signal.SIGXCPU:
            message = f"takes more than {self.request.seconds:g} s to read"
            return _refuse(
                self.request, message, "Give a smaller file, or raise HEADWISE_DATA_SECONDS."
            )
        if status > 0:
            message = "The process that reads data files failed; see the log."
            return UnavailableError(message, what="Data file")
        if status == -signal.SIGKILL:  # not by its own limits, which end it otherwise
            message = "The process that reads data files was killed from outside; try again."
            return UnavailableError(message, what="Data file")
        return self._too_large()

    def _too_large(self) -> InputError:
        message = f"takes more than {MEMORY >> 20:,} MB of memory to read"
        return _refuse(self.request, message, "Write it as JSON lines or CSV, or split it.")


def _refuse(request: ReadRequest, message: str, remedy: str) -> InputError:
    return refuse("data.path", request.name, message, remedy)
