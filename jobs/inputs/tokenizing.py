"""Trying a model's tokenizer in a process of its own, within limits of memory and time.

Whoever tokenizes foreign texts with a foreign tokenizer tries it here first: patterns may take for
ever, normalizers may make gigabytes of a word, and the tokenizers library may panic.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from headwise.errors import TokenizerError
from jobs.inputs.limited_process import ask, end, start

MEMORY = 1 << 30
"""Bytes that the trying process may use."""
SECONDS = 30.0
"""Time for reading a tokenizer, and for each batch of texts."""
BATCH = 256

Texts = Sequence[Sequence[str]]
"""Single texts, or pairs."""


class TextError(TokenizerError):
    """A text that the tokenizer cannot tokenize."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index
        """Its position among the texts."""


def try_file(path: Path, texts: Texts = ()) -> int:
    """Read a tokenizer.json and tokenize texts with it; returns the largest id of its vocabulary.

    Added tokens are left out. The result is kept until the file changes.

    Raises TokenizerError, and its TextError for a text that cannot be tokenized.
    """
    state = path.stat()
    identity = (str(path), state.st_ino, state.st_size, state.st_mtime_ns)
    return _try_file(identity, tuple(tuple(parts) for parts in texts))


@lru_cache(maxsize=64)
def _try_file(identity: tuple[str, int, int, int], texts: tuple[tuple[str, ...], ...]) -> int:
    path = identity[0]
    return _try({"path": path, "content": None}, texts, f"the tokenizer in '{Path(path).parent}'")


def try_content(content: str, texts: Texts) -> int:
    """The same for a tokenizer as JSON."""
    return _try({"path": None, "content": content}, texts, "the model's tokenizer")


def _try(source: Mapping[str, Any], texts: Texts, name: str) -> int:
    vocabulary = done = 0
    step = BATCH
    while True:
        asked = {**source, "texts": texts[done:], "step": step, "memory": MEMORY}
        offset = done
        with _Process(asked) as process:
            for message in process:
                if "unreadable" in message:
                    raise TokenizerError(f"{name} cannot be read: {message['unreadable']}")
                if "index" in message:
                    _refuse(offset + message["index"], message["reason"])
                vocabulary = message.get("vocabulary", vocabulary)
                done = offset + message.get("done", done - offset)
                if "end" in message:
                    return int(vocabulary)
        limit = f"{SECONDS:g} s" if process.late else f"{MEMORY >> 20:,} MB of memory"
        if not process.answered:
            raise TokenizerError(f"{name} takes more than {limit} to read")
        if step == 1:
            _refuse(done, f"it takes more than {limit}")
        step = 1  # one of the next texts


def _refuse(index: int, reason: str) -> None:
    raise TextError(index, f"the tokenizer fails on this text: {reason}")


class _Process:
    """One run of the trying process; iterate over its messages once."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = request
        self.late = self.answered = False

    def __enter__(self) -> _Process:
        self._child = start(
            "jobs.inputs.tokenizer_process",
            stderr=subprocess.DEVNULL,  # panics write their stacks there
            environment={"RAYON_NUM_THREADS": "4", "MALLOC_ARENA_MAX": "2"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        end(self._child)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        ask(self._child, self.request)
        while (line := self._line()).endswith(b"\n"):
            self.answered = True
            yield json.loads(line)

    def _line(self) -> bytes:
        assert self._child.stdout is not None
        timer = threading.Timer(SECONDS, self._end)
        timer.daemon = True
        timer.start()
        try:
            return self._child.stdout.readline(1 << 16)
        finally:
            timer.cancel()

    def _end(self) -> None:
        self.late = True
        self._child.kill()
