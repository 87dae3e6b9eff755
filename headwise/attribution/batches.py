"""All examples of a call in batches: of similar length, several at a time on a CPU, no larger than
memory allows, split again when it runs out all the same.

How much memory a token takes is measured: the first time that a model does some kind of work, it
does it for the longest text alone, with four rows in a pass. A batch is a quarter of a pass, so
that everything the work holds grows with the budget alike, and so does the peak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel

from headwise.attribution import cpu_parallel, memory
from headwise.attribution.evaluator import TokenBudget, is_out_of_memory
from headwise.encoding import Encoded
from headwise.interrupt import interrupts_held
from headwise.options import Options
from headwise.precision import LoweredReplay, arithmetic
from headwise.replay import Replay

Tick = Callable[[], None]
Work = Callable[[Replay, Sequence[int], Tick], None]
"""(replay, batch, tick): does the examples of a batch, and calls tick after each pass."""

_SHARE = 0.6
"""Of the memory that there is, what passes may take by the measurement: other programs want some
too, and allocators leave gaps."""

# A budget that was fitted, or halved on out-of-memory is remembered for the model's next calls.
_budgets: WeakKeyDictionary[PreTrainedModel, TokenBudget] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A model that is prepared, to run batches of examples on."""

    replay: Replay
    options: Options
    budget: TokenBudget
    check_interrupt: Tick

    def run(self, encoded: Sequence[Encoded], work: Work) -> None:
        """Do the work for all batches, longest first: a lack of memory shows at the start."""
        done: list[int] = []

        def tick() -> None:
            self.check_interrupt()
            if self.options.progress is not None:
                self.options.progress(len(done), len(encoded))

        def lane(replay: Replay, tick: Tick) -> None:
            while waiting:
                batch = waiting.pop()
                try:
                    work(replay, batch, tick)
                except (RuntimeError, MemoryError) as error:
                    smallest = len(batch) == 1 and self.budget.tokens <= len(encoded[batch[0]].ids)
                    if not is_out_of_memory(error) or smallest:
                        raise
                    self.budget.halve()
                    middle = len(batch) // 2
                    waiting.extend(part for part in (batch[:middle], batch[middle:]) if part)
                    continue
                done.extend(batch)
                tick()

        count = cpu_parallel.lanes(self.replay.device)
        self._fit(encoded, work, tick, count)
        waiting = batches(encoded, self.budget, count)
        cpu_parallel.run(self.replay, min(count, len(waiting)), lane, tick)

    def _fit(self, encoded: Sequence[Encoded], work: Work, tick: Tick, lanes: int) -> None:
        """Fit the budget to memory, once for work of this kind on texts of this length.

        What the measured work has to say of its text is said again, in its batch.
        """
        budget, device = self.budget, self.replay.device
        if not budget.adapts or len(encoded) < 2:
            return
        kind = f"{work.__qualname__} {self.options.method} {self.options.precision}"
        longest = max(range(len(encoded)), key=lambda e: len(encoded[e].ids))
        n = len(encoded[longest].ids)
        # Twice as long a text takes hardly more per token: no new measurement for each record.
        if n <= 2 * budget.measured.get(kind, 0) or (room := memory.available(device)) is None:
            return
        try:
            with budget.limited(4 * n), memory.measuring(device) as peak:
                tokens = n * budget.rows(n)
                work(self.replay, [longest], tick)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return  # its batch will run out of it too, and halve the budget
        budget.measured[kind] = n
        budget.fit(_SHARE * room / lanes * tokens / max(1, peak.bytes))


@contextmanager
def prepared(model: PreTrainedModel, options: Options) -> Iterator[Runner]:
    """A runner of the model, which is as before afterwards."""
    with (
        interrupts_held() as check_interrupt,
        arithmetic(model.device, options.precision, options.deterministic),
        LoweredReplay(model, options.precision) as replay,
    ):
        yield Runner(
            replay=replay,
            options=options,
            budget=budget_for(model, options),
            check_interrupt=check_interrupt,
        )


def budget_for(model: PreTrainedModel, options: Options) -> TokenBudget:
    """Tokens of one pass: as given, or fitted and remembered where runs need not be the same."""
    if options.token_budget is not None:
        return TokenBudget(options.token_budget)
    if options.deterministic:
        return TokenBudget.default(model.device)
    if model not in _budgets:
        _budgets[model] = TokenBudget.default(model.device, adapts=True)
    return _budgets[model]


def batches(encoded: Sequence[Encoded], budget: TokenBudget, lanes: int) -> list[list[int]]:
    """Examples of similar length together, shortest first, at least one batch for every lane.

    A batch takes a quarter of the budget, as each pass has several points of every example, and
    at most a tenth of it is padding.
    """
    share = max(1, len(encoded) // lanes)
    order = sorted(range(len(encoded)), key=lambda e: len(encoded[e].ids), reverse=True)
    found: list[list[int]] = []
    longest = rows = 0
    for example in order:
        n = len(encoded[example].ids)
        if not found or n < 0.9 * longest or len(found[-1]) >= rows:
            found.append([])
            longest, rows = n, min(share, budget.rows(4 * n))
        found[-1].append(example)
    return found[::-1]
