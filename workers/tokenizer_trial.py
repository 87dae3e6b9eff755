"""Trying a model's tokenizer on a shard's texts, ahead of the blocks that need them."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from jobs.inputs.models.tokenizing import (
    TextError,
    Texts,
    TryingProcesses,
    try_content,
)


class TokenizerTrial:
    """Tries texts in a process of their own: those of the first block, and while that is computed
    twice as many, and so on. A device waits for the first ones only."""

    def __init__(self, tokenizer: str, texts: Texts, processes: TryingProcesses) -> None:
        """`tokenizer` is the JSON of a tokenizer."""
        self._tokenizer = tokenizer
        self._processes = processes
        self._texts = texts
        self._tried = 0
        self._failure: TextError | None = None
        self._trying: tuple[int, Future[TextError | None]] | None = None

    def failure(self, count: int) -> TextError | None:
        """Return the failure of the first text that fails, if it is one of the first `count`."""
        while self._tried < count and self._failure is None:
            end, found = self._trying or self._begin(count)
            self._failure, self._tried, self._trying = found.result(), end, None
        if self._failure is None and self._trying is None and self._tried < len(self._texts):
            self._trying = self._begin(2 * count)
        return self._failure if self._failure and self._failure.index < count else None

    def _begin(self, end: int) -> tuple[int, Future[TextError | None]]:
        end = min(end, len(self._texts))
        thread = ThreadPoolExecutor(1, thread_name_prefix="trying texts")
        found = thread.submit(self._try, self._tried, end)
        thread.shutdown(wait=False)
        return end, found

    def _try(self, start: int, end: int) -> TextError | None:
        try:
            try_content(self._tokenizer, self._texts[start:end], self._processes)
        except TextError as error:
            return TextError(start + error.index, str(error))
        return None
