"""Reading data files in a process of its own, within limits of memory, time and size."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.errors import InputError, Problem, UnavailableError, refuse
from jobs.inputs.limited_process import ask, end, start

MEMORY = 1 << 30
"""Bytes of address space of the reading process."""


@dataclass(frozen=True, kw_only=True)
class ReadRequest:
    """The rows to read of a data file, and the limits."""

    path: Path
    name: str
    """The file's name for messages; its suffix says the format."""
    text_columns: Sequence[str] = ()
    """None for a preview: the first ``limit`` rows with all their columns."""
    label_column: str | None = None
    offset: int = 0
    limit: int | None = None
    sample: int | None = None
    max_rows: int = 0
    """More rows are refused, unless a sample is drawn from them; 0 is no limit."""
    max_line_bytes: int = 1 << 20
    max_bytes: int = 256 << 20
    """Bytes of all texts together."""
    seconds: float = 60.0


@dataclass(kw_only=True)
class Selection:
    """The rows that were read."""

    format: str = ""
    """Format of the file, in words."""
    class_labels: bool = False
    """Numbers in the label column have names in the data (ClassLabel)."""
    numbers: list[int] = field(default_factory=list)
    """Row numbers from 0."""
    places: list[str] = field(default_factory=list)
    """Where each row stands, for messages."""
    texts: list[list[str]] = field(default_factory=list)
    """By row, one text for each text column."""
    labels: list[object] = field(default_factory=list)
    heads: list[dict[str, object]] = field(default_factory=list)
    """Of a preview: the first rows."""


def read_file(request: ReadRequest) -> Selection:
    """Read a file's rows.

    Raises InputError, which names the row at fault, and where the file would take more memory, time
    or space than is allowed.
    """
    found = Selection()
    size = 0
    for message in _Process(request):
        found.format = message.get("format", found.format)
        found.class_labels |= request.label_column in message.get("names", ())
        found.heads += message.get("heads", ())
        for number, place, texts, label in message.get("rows", ()):
            size += sum(map(len, texts))
            found.numbers.append(number)
            found.places.append(place)
            found.texts.append(texts)
            found.labels.append(label)
        if size > request.max_bytes:
            message = f"has more than {request.max_bytes >> 20:,} MB of text"
            raise _refuse(request, message, "Take fewer rows, or raise HEADWISE_DATA_MEGABYTES.")
    return found


class _Process:
    """One run of the reading process; iterate over its messages once."""

    def __init__(self, request: ReadRequest) -> None:
        self.request = request
        self._late = False

    def __iter__(self) -> Iterator[Any]:
        child = start("jobs.inputs.reader_process")
        timer = threading.Timer(self.request.seconds, self._end, (child,))
        timer.daemon = True
        timer.start()
        try:
            yield from self._messages(child)
        finally:
            timer.cancel()
            end(child)

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        self._late = True
        child.kill()

    def _messages(self, child: subprocess.Popen[bytes]) -> Iterator[Any]:
        assert child.stdout is not None
        ask(child, self._asked())
        # A batch and the row that made it full; JSON writes a character in up to six bytes.
        longest = 6 * ((4 << 20) + 3 * self.request.max_line_bytes)
        while (line := child.stdout.readline(longest)).endswith(b"\n"):
            message = json.loads(line)
            if "end" in message:
                return
            if "problems" in message:
                raise InputError([Problem(**one) for one in message["problems"]])
            if "memory" in message:
                raise self._too_large()
            yield message
        raise self._death(child.wait())

    def _asked(self) -> Mapping[str, object]:
        return {**self.request.__dict__, "path": str(self.request.path), "memory": MEMORY}

    def _death(self, status: int) -> Exception:
        if self._late or status == -signal.SIGXCPU:
            message = f"takes more than {self.request.seconds:g} s to read"
            return _refuse(
                self.request, message, "Give a smaller file, or raise HEADWISE_DATA_SECONDS."
            )
        if status > 0:
            return UnavailableError("The process that reads data files failed; see the log.")
        return self._too_large()

    def _too_large(self) -> InputError:
        message = f"takes more than {MEMORY >> 20:,} MB of memory to read"
        return _refuse(self.request, message, "Write it as JSON lines or CSV, or split it.")


def _refuse(request: ReadRequest, message: str, remedy: str) -> InputError:
    return refuse("data.path", request.name, message, remedy)
