"""Evaluating F and its gradient on the paths, in passes that fit into memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwise.attribution.memory import is_out_of_memory
from headwise.replay import Recording, Replay, RowGroup
from headwise.targets import TargetFunction

# Tokens (rows x length) of one pass if memory suffices. On a CPU the activations of a larger pass
# do not fit into the cache; a GPU is busy with this many.
_CPU_TOKENS = 1024
_CUDA_TOKENS = 32768


class TokenBudget:
    """The number of tokens (rows x length) that one pass may have; halved when memory runs out.

    adapts: it may be fitted to free memory, see ``headwise.attribution.batches``
    measured: per kind of work, the length in tokens of the longest text that was measured
    """

    def __init__(self, tokens: int, *, adapts: bool = False) -> None:
        self.tokens, self.adapts = tokens, adapts
        self.measured: dict[str, int] = {}

    @classmethod
    def default(cls, device: torch.device, *, adapts: bool = False) -> TokenBudget:
        """Return the budget that suits a kind of device."""
        return cls(_CUDA_TOKENS if device.type == "cuda" else _CPU_TOKENS, adapts=adapts)

    def rows(self, n: int) -> int:
        """Return the number of rows of n tokens in one pass, at least one."""
        return max(1, self.tokens // n)

    def halve(self) -> None:
        """Halve the budget, to no less than one token."""
        self.tokens = max(1, self.tokens // 2)

    def fit(self, tokens: float) -> None:
        """Halve the budget until it is at most ``tokens``; similar memory gives the same."""
        while self.tokens > max(1, tokens):
            self.halve()

    @contextmanager
    def limited(self, tokens: int) -> Iterator[None]:
        """Limit the budget to ``tokens`` in this context."""
        whole, self.tokens = self.tokens, min(self.tokens, tokens)
        try:
            yield
        finally:
            self.tokens = whole


@dataclass(frozen=True, kw_only=True)
class Request:
    """R points on the paths of one site: ``points[r] * O`` of example ``examples[r]``.

    examples: indices in the batch, int [R]
    points: a, float64 [R]
    gradient: dF/dO is wanted
    """

    site: int
    examples: Tensor
    points: Tensor
    gradient: bool = True

    def part(self, start: int, stop: int | None) -> Request:
        """Return the request for a slice of the rows."""
        return replace(self, examples=self.examples[start:stop], points=self.points[start:stop])


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """F and its gradient at the R points of a request.

    value: F, float64 [R]
    rounding: bound of the rounding error of F, float64 [R]
    gradient: dF/dO, [R, m, H, d], for the m query rows that matter; None if not requested
    """

    value: Tensor
    rounding: Tensor
    gradient: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates F anywhere on the paths of a recorded batch of B examples.

    function, target: F, and the target class of each example, int [B]
    unit: relative error of the logits by rounding alone
    tick: called after every pass; an exception from it ends the work
    """

    replay: Replay
    recording: Recording
    function: TargetFunction
    target: Tensor
    budget: TokenBudget
    unit: float
    tick: Callable[[], None]

    def output(self, site: int) -> Tensor:
        """Return O of a site for the query rows that matter, [B, m, H, d]."""
        return self.recording.relevant(site, self.recording.output[site].detach())

    def full_value(self) -> Evaluation:
        """Return F(1), which is the same for all sites, [B], without gradient."""
        return self._evaluation(*self.function.value(self.recording.logits.detach(), self.target))

    def _evaluation(self, value: Tensor, odds: Tensor) -> Evaluation:
        # A probability near 0 or 1 has more correct digits than the logits it comes from.
        logit = odds.abs().maximum(value.abs()).clamp_min(1)
        rounding = self.unit * self.function.slope(odds) * logit
        return Evaluation(value=value, rounding=rounding, gradient=None)

    def tokens_per_row(self, site: int) -> int:
        """Return the number of tokens in one row of a pass from a site."""
        # After a site of which one row matters, a pass computes one token per text.
        return self.recording.length if self.recording.needed_rows(site) is None else 1

    def sites_together(self) -> int:
        """Return the number of sites of which one point per example fits into one pass."""
        return max(1, self.budget.rows(self.recording.length) // len(self.target))

    def evaluate(self, requests: Sequence[Request]) -> list[Evaluation]:
        """Evaluate requests for different sites, in as many passes as the budget requires."""
        found: list[list[Evaluation]] = [[] for _ in requests]
        pending = deque(sorted(enumerate(requests), key=lambda asked: asked[1].site))
        while pending:
            taken = self._take(pending)
            try:
                parts = self._pass([request for _, request in taken])
            except (RuntimeError, MemoryError) as error:
                rows = sum(len(request.points) for _, request in taken)
                if not is_out_of_memory(error) or rows == 1:
                    raise
                self.budget.halve()
                _release(self.replay.device)
                pending.extendleft(reversed(taken))
                continue
            for (index, _), part in zip(taken, parts, strict=True):
                found[index].append(part)
            self.tick()
        return [_joined(parts) for parts in found]

    def _take(self, pending: deque[tuple[int, Request]]) -> list[tuple[int, Request]]:
        """Remove and return the rows of the next pass: at least one, each site at most once."""
        taken: list[tuple[int, Request]] = []
        left = self.budget.tokens
        while pending and not (taken and taken[-1][0] == pending[0][0]):
            index, request = pending[0]
            rows = left // self.tokens_per_row(request.site)
            if taken and rows < min(len(request.points), len(self.target)):
                break  # A few rows are not worth starting one more site in this pass.
            pending.popleft()
            rows = min(max(rows, 1), len(request.points))
            taken.append((index, request.part(0, rows)))
            if rows < len(request.points):
                pending.appendleft((index, request.part(rows, None)))
            left -= rows * self.tokens_per_row(request.site)
        return taken

    def _pass(self, requests: Sequence[Request]) -> list[Evaluation]:
        """Run the model once for all rows of the requests, sites in ascending order."""
        groups = []
        with torch.set_grad_enabled(any(request.gradient for request in requests)):
            for request in requests:
                output = self.output(request.site).index_select(0, request.examples)
                scale = request.points.to(output.dtype)[:, None, None, None]
                leaf = (output * scale).requires_grad_(request.gradient)
                groups.append(RowGroup(site=request.site, rows=request.examples, output=leaf))
            target = self.target.index_select(0, torch.cat([group.rows for group in groups]))
            value, odds = self.function.value(self.replay.logits(self.recording, groups), target)
            leaves = [group.output for group in groups if group.output.requires_grad]
            gradients = iter(torch.autograd.grad(value.sum(), leaves) if leaves else ())
        sizes = [len(group.rows) for group in groups]
        parts = zip(
            torch.split(value.detach(), sizes), torch.split(odds.detach(), sizes), strict=True
        )
        return [
            replace(self._evaluation(*part), gradient=next(gradients) if request.gradient else None)
            for part, request in zip(parts, requests, strict=True)
        ]


def _joined(parts: Sequence[Evaluation]) -> Evaluation:
    gradients = [part.gradient for part in parts if part.gradient is not None]
    return Evaluation(
        value=torch.cat([part.value for part in parts]),
        rounding=torch.cat([part.rounding for part in parts]),
        gradient=torch.cat(gradients) if gradients else None,
    )


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
