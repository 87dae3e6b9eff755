"""Trying a model's tokenizer in a process of its own, within limits of memory and time.

Whoever tokenizes foreign texts with a foreign tokenizer tries it here first: patterns may take for
ever, normalizers may make gigabytes of a word, and the tokenizers library may panic.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from headwise.errors import TokenizerError
from jobs.processes.limited_process import ask, end, start

MEMORY = 1 << 30
"""Bytes that the trying process may use."""
SECONDS = 30.0
"""Time for reading a tokenizer, and for each batch of texts."""
BATCH = 256

Texts = Sequence[Sequence[str]]
"""Single texts, or pairs."""


_Identity = tuple[str, int, int, int]
"""A file by its path, inode, size and time of change."""


class TextError(TokenizerError):
    """A text that the tokenizer cannot tokenize."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index
        """Its position among the texts."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Facts about a tokenizer."""

    vocabulary: int
    """Largest id of its vocabulary, added tokens left out."""
    largest_type: int = 0
    """Largest token type that a text was given; 1 for the second of a pair."""
    lengths: tuple[int, ...] = ()
    """By text, its tokens, special ones included."""

    def after(self, message: Mapping[str, Any]) -> Tried:
        """The same with what an answer of the process adds; lengths are left out."""
        return replace(
            self,
            vocabulary=message.get("vocabulary", self.vocabulary),
            largest_type=max(self.largest_type, message.get("largest_type", 0)),
        )


def try_file(path: Path, texts: Texts = ()) -> Tried:
    """Read a tokenizer.json and tokenize texts with it; the result is kept while the file is.

    Raises TokenizerError, and its TextError for a text that cannot be tokenized.
    """
    return _try_file(_identity(path), tuple(tuple(parts) for parts in texts))


def count_longer(
    path: Path, limit: int, fingerprint: str, read: Callable[[], Texts]
) -> tuple[int, bool]:
    """Count the texts of more than ``limit`` tokens, with a tokenizer.json; True if all are longer.

    fingerprint: of the texts, by which the count is kept while the file is
    read: gives the texts, those of most characters first; counting ends at a batch without a
        longer one

    Raises as `try_file`.
    """
    return _count_longer(_identity(path), limit, _Source(fingerprint, read))


@dataclass(frozen=True)
class _Source:
    fingerprint: str
    read: Callable[[], Texts] = field(compare=False)


@lru_cache(maxsize=64)
def _count_longer(identity: _Identity, limit: int, source: _Source) -> tuple[int, bool]:
    path = identity[0]
    about = f"the tokenizer in '{Path(path).parent}'"
    texts = source.read()
    tried = _try({"path": path, "content": None}, texts, about, limit)
    longer = sum(length > limit for length in tried.lengths)
    return longer, longer == len(texts)


def _identity(path: Path) -> _Identity:
    state = path.stat()
    return str(path), state.st_ino, state.st_size, state.st_mtime_ns


@lru_cache(maxsize=64)
def _try_file(identity: _Identity, texts: tuple[tuple[str, ...], ...]) -> Tried:
    path = identity[0]
    return _try({"path": path, "content": None}, texts, f"the tokenizer in '{Path(path).parent}'")


def try_content(content: str, texts: Texts, processes: TryingProcesses | None = None) -> Tried:
    """The same for a tokenizer as JSON, perhaps by a process that is kept."""
    source = {"path": None, "content": content}
    return _try(source, texts, "the model's tokenizer", processes=processes)


def _try(
    source: Mapping[str, Any],
    texts: Texts,
    name: str,
    limit: int = 0,
    processes: TryingProcesses | None = None,
) -> Tried:
    """Try a tokenizer on texts, up to a batch in which none has more than ``limit`` tokens."""
    tried, lengths = Tried(vocabulary=0), list[int]()
    done, step, killed = 0, BATCH, False
    while True:
        offset = done
        with (processes or TryingProcesses(0)).one(source) as process:
            for message in process.answers(texts[done:], step):
                if "unreadable" in message:
                    raise TokenizerError(f"{name} cannot be read: {message['unreadable']}")
                if "index" in message:
                    _refuse(offset + message["index"], message["reason"])
                tried = tried.after(message)
                found = message.get("lengths", ())
                lengths += found
                if 0 in found:
                    _refuse(done + found.index(0), "it gives no tokens")
                done = offset + message.get("done", done - offset)
                if "end" in message or (len(found) == BATCH and max(found) <= limit):
                    return replace(tried, lengths=tuple(lengths))
        if process.killed and not killed:
            killed = True  # by someone else: the limits end it otherwise
            continue
        allowed = f"{SECONDS:g} s" if process.late else f"{MEMORY >> 20:,} MB of memory"
        if not process.answered:
            raise TokenizerError(f"{name} takes more than {allowed} to read")
        if step == 1:
            _refuse(done, f"it takes more than {allowed}")
        step = 1  # one of the next texts


def _refuse(index: int, reason: str) -> None:
    raise TextError(index, f"the tokenizer fails on this text: {reason}")


class TryingProcesses:
    """The processes that try tokenizers. Some are kept for further texts: a start takes longer than
    a block of texts."""

    def __init__(self, kept: int = 1) -> None:
        """`kept` is the number of processes that may wait for further texts."""
        self._most = kept
        self._kept: list[_Process] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def one(self, source: Mapping[str, Any]) -> Iterator[_Process]:
        """A process for a tokenizer; it ends unless it can answer further requests.

        None tries two tokenizers: each may take all of the memory.
        """
        with self._lock:
            kept = self._kept.pop() if self._kept else None
        if kept is not None and kept.source != source:
            kept.end()
            kept = None
        process = kept or _Process(source)
        try:
            yield process
        finally:
            with self._lock:
                keep = process.waits and len(self._kept) < self._most
                if keep:
                    self._kept.append(process)
            if not keep:
                process.end()

    def close(self) -> None:
        """End those that are kept."""
        with self._lock:
            kept, self._kept, self._most = self._kept, [], 0
        for process in kept:
            process.end()


class _Process:
    """A process that tries one tokenizer."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self.source = source
        self.late = self.killed = False
        self.answered = False
        """True once it has read the tokenizer: if it ends then, the texts are to blame."""
        self.waits = False
        """True once it has answered all of a request, and can answer another one."""
        self._child = start(
            "jobs.inputs.models.tokenizer_process",
            stderr=subprocess.DEVNULL,  # panics write their stacks there
            environment={"RAYON_NUM_THREADS": "4", "MALLOC_ARENA_MAX": "2"},
        )
        self.end = weakref.finalize(self, end, self._child)
        """Ends it, which also happens once it is forgotten."""

    def answers(self, texts: Texts, step: int) -> Iterator[Mapping[str, Any]]:
        """Ask for texts to be tried, in batches of ``step``."""
        self.late = self.killed = self.waits = False
        asked: dict[str, Any] = {"texts": texts, "step": step}
        if not self.answered:
            asked |= {**self.source, "memory": MEMORY}
        ask(self._child, asked, last=False)
        while (line := self._line()).endswith(b"\n"):
            self.answered = True
            message = json.loads(line)
            self.waits = not message.keys().isdisjoint(("end", "index"))
            yield message
            if self.waits:
                return
        if not line:
            self.killed = self._child.wait() == -signal.SIGKILL and not self.late

    def _line(self) -> bytes:
        assert self._child.stdout is not None
        timer = threading.Timer(SECONDS, self._end_late)
        timer.daemon = True
        timer.start()
        try:
            return self._child.stdout.readline(1 << 16)
        finally:
            timer.cancel()

    def _end_late(self) -> None:
        self.late = True
        self._child.kill()
