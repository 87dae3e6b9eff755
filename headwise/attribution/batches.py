"""Running all examples of a call in batches.

Batches have texts of similar length, run several at a time on a CPU, are as large as memory allows,
and are split when memory runs out all the same.

The memory per token is measured: the first time that a model does some kind of work, it does it for
the longest text alone, with four rows in a pass. A batch is a quarter of a pass, so that everything
in memory grows with the budget alike, and so does the peak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from headwise.attribution import cpu_parallel, memory
from headwise.attribution.cpu_parallel import Tick
from headwise.attribution.evaluator import TokenBudget
from headwise.attribution.memory import is_out_of_memory
from headwise.attribution.sharing import halves, is_failure_of_example, may_share
from headwise.encoding import Encoded
from headwise.errors import FAILURES
from headwise.interrupt import interrupts_held
from headwise.options import Options, Partial
from headwise.precision import LoweredReplay, arithmetic
from headwise.replay import Inputs, Replay
from headwise.replay.hooks import attend, handling

HostPart = Callable[[], None]
"""The part of a batch that needs no device, when the device has done its own."""

BatchWork = Callable[[Replay, Sequence[int], Tick], HostPart | None]
"""(replay, batch, tick): does the examples of a batch, and calls tick after each pass."""

Failure = Callable[[int, Exception], None]
"""(example, error): the model raised an error for an example alone."""

_SHARE = 0.6
"""Share of the free memory that passes may take as measured: other programs need some too, and
allocators leave gaps."""

_BATCH_COST = 0.02
"""Time of a batch beyond that of its tokens, as a share of a full pass: measured on a CPU."""

# Budgets that were fitted to memory, or halved when it ran out, for later calls with the model.
_budgets: WeakKeyDictionary[PreTrainedModel, TokenBudget] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class PreparedModel:
    """A model inside its replay, ready to run batches of examples."""

    replay: Replay
    options: Options
    budget: TokenBudget
    check_interrupt: Tick

    def run(
        self,
        kind: str,
        encoded: Sequence[Encoded],
        work: BatchWork,
        fail: Failure = lambda example, error: None,
        *,
        leave_last: bool = False,
    ) -> Host:
        """Do the work for all batches, longest first, so that memory runs out early if at all.

        kind: name of the work, whose memory is measured once per model
        fail: called for an example that the model raises an error for; the others go on
        leave_last: return when the device is free, and leave the last batch to the host

        With `options.partial`, the batches that are finished are left out, and those that fail
        are not finished before all have had their turn.

        Returns the host, which has something left to do with ``leave_last`` alone. Raises the
        model's error if no example can be computed: no text is the cause of it.
        """
        partial = self.options.partial or Partial()
        beside = cpu_parallel.parallel_batches(self.replay.device) == 1
        host = Host(partial.finished, beside=beside)
        failed: list[tuple[int, Exception]] = []
        try:
            self._run(kind, encoded, work, host, failed, leave_last)
        except BaseException as error:
            host.close()
            if not isinstance(error, partial.stops_on):
                raise
            partial.stopped = error
            return host
        if failed and len(failed) == len(encoded):
            raise failed[0][1]
        for example, reason in failed:
            fail(example, reason)
            partial.finished.add(example)
        return host

    def _run(
        self,
        kind: str,
        encoded: Sequence[Encoded],
        work: BatchWork,
        host: Host,
        failed: list[tuple[int, Exception]],
        leave_last: bool,
    ) -> None:
        """Do the work for the batches that are not finished, and add those that fail."""
        ended: list[BaseException] = []  # raised by a tick, not by the work
        finished = host.finished

        def tick() -> None:
            self.check_interrupt()
            if self.options.progress is not None:
                self.options.progress(len(finished), len(encoded))

        def take_batches(replay: Replay, tick: Tick) -> None:
            guarded = _keeping_errors(tick, ended)
            while waiting:
                batch = waiting.pop()
                if finished.issuperset(batch):
                    continue
                # A batch that was halved may be finished in part.
                apart = not finished.isdisjoint(batch)
                if apart or not self._may_share(replay, [encoded[e] for e in batch]):
                    waiting.extend(halves(batch))
                    continue
                try:
                    left = work(replay, batch, guarded)
                except (*FAILURES, MemoryError) as error:
                    if any(error is one for one in ended):
                        raise
                    if self._tried_again(error, [encoded[e] for e in batch]):
                        waiting.extend(halves(batch))
                        continue
                    failed.append((batch[0], error))
                else:
                    host.finish(batch, left)
                tick()
            if not leave_last and host.wait():
                tick()

        parallel = cpu_parallel.parallel_batches(self.replay.device)
        guarded = _keeping_errors(tick, ended)
        self._fit(kind, encoded, lambda batch: work(self.replay, batch, guarded), parallel, ended)
        waiting = batches(encoded, self.budget, parallel)
        cpu_parallel.run(self.replay, min(parallel, len(waiting)), take_batches, tick)

    def _tried_again(self, error: Exception, examples: Sequence[Encoded]) -> bool:
        """Tell whether a batch is tried in halves, or its one example fails.

        Raises the error if neither would help.
        """
        smallest = len(examples) == 1 and self.budget.tokens <= len(examples[0].ids)
        if is_out_of_memory(error) and not smallest:
            self.budget.halve()
            return True
        if not is_failure_of_example(error):
            raise error
        return len(examples) > 1

    def _may_share(self, replay: Replay, examples: Sequence[Encoded]) -> bool:
        def forward(inputs: Inputs) -> Tensor:
            replay.forget_lengths()
            with handling(attend):
                logits: Tensor = replay.model(**inputs).logits
            return logits

        return may_share(self.replay.model, examples, forward)

    def _fit(
        self,
        kind: str,
        encoded: Sequence[Encoded],
        work: Callable[[Sequence[int]], object],
        parallel: int,
        ended: Sequence[BaseException],
    ) -> None:
        """Fit the budget to memory, once for this kind of work on texts of this length.

        The measured text is worked on again, and reported, in its batch.
        """
        budget, device = self.budget, self.replay.device
        if not budget.adapts or len(encoded) < 2:
            return
        measured = f"{kind} {self.options.method} {self.options.precision}"
        longest = max(range(len(encoded)), key=lambda e: len(encoded[e].ids))
        n = len(encoded[longest].ids)
        # A text of twice the length takes hardly more per token, so not every record is measured.
        if n <= 2 * budget.measured.get(measured, 0):
            return
        if (room := memory.available(device)) is None:
            return
        try:
            with budget.limited(4 * n), memory.measuring(device) as peak:
                tokens = n * budget.rows(n)
                work([longest])
        except (*FAILURES, MemoryError) as error:
            # Its batch will fail too: alone, or by lack of memory, which halves the budget.
            failed = is_out_of_memory(error) or is_failure_of_example(error)
            if not failed or any(error is one for one in ended):
                raise
            return
        budget.measured[measured] = n
        budget.fit(_SHARE * room / parallel * tokens / max(1, peak.bytes))


class Host:
    """The host's part of batches, when the device has done its own.

    finished: examples whose batches are done; it adds those that it finishes
    beside: in a thread, while the device computes the next batch; otherwise at once
    """

    def __init__(self, finished: set[int], *, beside: bool) -> None:
        self.finished = finished
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="collecting") if beside else None
        self._last: tuple[Sequence[int], Future[None]] | None = None

    def finish(self, batch: Sequence[int], left: HostPart | None) -> None:
        """Do what is left of a batch; one batch waits at most, so that memory is bounded."""
        self.wait()
        if left is not None and self._thread is not None:
            self._last = batch, self._thread.submit(left)
            return
        if left is not None:
            left()
        self.finished.update(batch)

    def wait(self) -> bool:
        """Wait for what is being done; False if nothing was."""
        last, self._last = self._last, None
        if last is None:
            return False
        batch, done = last
        done.result()
        self.finished.update(batch)
        return True

    def close(self) -> None:
        """Wait for what is being done, and end the thread."""
        try:
            self.wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()


def _keeping_errors(tick: Tick, errors: list[BaseException]) -> Tick:
    """The same, and what it raises is kept, so that it is known for no error of the work."""

    def keeping() -> None:
        try:
            tick()
        except BaseException as error:
            errors.append(error)
            raise

    return keeping


@contextmanager
def prepared(model: PreTrainedModel, options: Options) -> Iterator[PreparedModel]:
    """Prepare a model in this context; leaving it restores the model."""
    with (
        interrupts_held() as check_interrupt,
        arithmetic(model.device, options.precision, options.deterministic),
        LoweredReplay(model, options.precision) as replay,
    ):
        yield PreparedModel(
            replay=replay,
            options=options,
            budget=budget_for(model, options),
            check_interrupt=check_interrupt,
        )


def budget_for(model: PreTrainedModel, options: Options) -> TokenBudget:
    """Return the tokens of one pass: the given number, or one fitted to memory and remembered.

    Deterministic runs take the default of the device.
    """
    if options.token_budget is not None:
        return TokenBudget(options.token_budget)
    if options.deterministic:
        return TokenBudget.default(model.device)
    if model not in _budgets:
        _budgets[model] = TokenBudget.default(model.device, adapts=True)
    return _budgets[model]


def batches(encoded: Sequence[Encoded], budget: TokenBudget, parallel: int) -> list[list[int]]:
    """Group examples of similar length, shortest first, into at least ``parallel`` batches.

    A batch takes at most a quarter of the budget, since each pass has several points of every
    example. Of all such groupings of the sorted examples this is the one that takes least time, as
    ``_BATCH_COST`` has it: small calls have fewer batches with more padding.
    """
    lengths = np.array([len(example.ids) for example in encoded])
    order = np.argsort(lengths, kind="stable")
    share = max(1, len(encoded) // parallel)
    each = _BATCH_COST * budget.tokens
    cost = np.zeros(len(order) + 1)  # the least that the first examples take, in tokens
    begin = np.zeros(len(order) + 1, dtype=int)  # of the last batch then
    for end, n in enumerate(lengths[order].tolist(), start=1):
        starts = np.arange(end - min(share, budget.rows(4 * n), end), end)
        costs = cost[starts] + n * (end - starts)
        best = int(costs.argmin())
        cost[end], begin[end] = costs[best] + each, starts[best]
    found: list[list[int]] = []
    end = len(order)
    while end:
        found.append(order[begin[end] : end][::-1].tolist())
        end = int(begin[end])
    return found[::-1]
