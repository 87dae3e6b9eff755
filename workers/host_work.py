"""The work that a shard's blocks need besides the device's, done while that computes another block.

In a thread of its own the next block is prepared, which is mostly tokenizing, and what the device
has computed of the last one becomes a result. At 3 ms a text on a GPU, both would otherwise keep it
waiting for a fifth of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

from db.results.commit import ShardInput
from headwise import LoadedModel
from jobs.inputs.models.tokenizing import TextError
from jobs.results.base import ShardResult
from jobs.specs.base import JobSpec
from workers.kinds import PREPARE, Computed
from workers.tokenizer_trial import TokenizerTrial


class HostWork:
    """The thread of one shard."""

    def __init__(self, spec: JobSpec, shard: ShardInput, trial: TokenizerTrial | None) -> None:
        """`trial` tries the shard's texts; None where the tokenizer needs none."""
        self._spec, self._shard, self._trial = spec, shard, trial
        self._prepare = PREPARE.get(spec.kind)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="host work")
        self._ahead: tuple[int, Future[Any]] | None = None
        """The first example of the block that is being prepared, and what comes of it."""
        self._preparing, self._ended = Lock(), False

    def close(self) -> None:
        """End the thread, without waiting for a text that is being tried."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._ended = True
        with self._preparing:  # a tokenizer has one user at a time
            return

    def failure(self, hi: int) -> TextError | None:
        """Return the failure of the first text before `hi` with which the tokenizer fails."""
        if self._ahead is not None:
            self._ahead[1].exception()  # it asks the same
        return None if self._trial is None else self._trial.failure(hi - self._shard.lo)

    def prepared(self, loaded: LoadedModel, lo: int, hi: int) -> Callable[[], Any]:
        """Wait until a block is prepared; the function gives what it is prepared with, or raises.

        After `failure`, which tells whether the tokenizer takes its texts.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == lo:
            future = ahead[1]
        else:
            future = self._thread.submit(self._prepared, loaded, lo, hi)
        future.exception()
        return future.result

    def prepare_next(self, loaded: LoadedModel, lo: int, hi: int) -> None:
        """Begin to prepare a block."""
        if self._prepare is not None:
            self._ahead = lo, self._thread.submit(self._prepared_ahead, loaded, lo, hi)

    def converted(self, computed: Computed) -> Callable[[], ShardResult]:
        """Begin to make a result of what was computed; the function waits for it."""
        return self._thread.submit(converted, computed).result

    def _prepared(self, loaded: LoadedModel, lo: int, hi: int) -> Any:
        with self._preparing:
            if self._ended or self._prepare is None:
                return None
            return self._prepare(self._spec, loaded, self._shard.part(lo, hi))

    def _prepared_ahead(self, loaded: LoadedModel, lo: int, hi: int) -> Any:
        if self._trial is not None and self._trial.failure(hi - self._shard.lo) is not None:
            return None  # nobody will ask for it
        return self._prepared(loaded, lo, hi)


def converted(computed: Computed) -> ShardResult:
    """Return the result of a block."""
    return computed() if callable(computed) else computed
