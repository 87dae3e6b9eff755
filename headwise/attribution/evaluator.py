"""Gradient evaluations on the path, in batches that fit into memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwise.replay import Recording, Replay, RowGroup
from headwise.targets import Objective

# Rows x tokens of one pass where there is memory enough. On a CPU the activations of a larger batch
# fall out of the cache; a GPU is busy with that many.
_CPU_TOKENS = 1024
_CUDA_TOKENS = 32768


class TokenBudget:
    """How many tokens (rows x length) one pass may have; halved when memory runs out.

    adapts: it may be fitted to the memory that there is, see ``headwise.attribution.batches``
    measured: per kind of work, the length of the longest text whose memory was measured
    """

    def __init__(self, tokens: int, *, adapts: bool = False) -> None:
        self.tokens, self.adapts = tokens, adapts
        self.measured: dict[str, int] = {}

    @classmethod
    def default(cls, device: torch.device, *, adapts: bool = False) -> TokenBudget:
        return cls(_CUDA_TOKENS if device.type == "cuda" else _CPU_TOKENS, adapts=adapts)

    def rows(self, n: int) -> int:
        """Rows of n tokens in one pass, at least one."""
        return max(1, self.tokens // n)

    def halve(self) -> None:
        self.tokens = max(1, self.tokens // 2)

    def fit(self, tokens: float) -> None:
        """Halve until no more than so many are left: runs with about as much memory are alike."""
        while self.tokens > max(1, tokens):
            self.halve()

    @contextmanager
    def limited(self, tokens: int) -> Iterator[None]:
        """No more than so many for a while."""
        whole, self.tokens = self.tokens, min(self.tokens, tokens)
        try:
            yield
        finally:
            self.tokens = whole


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is a failed allocation, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


@dataclass(frozen=True, kw_only=True)
class Request:
    """R points of paths of one site: at ``points[r] * O`` of example ``examples[r]``.

    examples: indices in the batch, [R]; points: a, float64 [R]; gradient: dF/dO is wanted
    """

    site: int
    examples: Tensor
    points: Tensor
    gradient: bool = True

    def part(self, start: int, stop: int | None) -> Request:
        """Some of its rows."""
        return replace(self, examples=self.examples[start:stop], points=self.points[start:stop])


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """F and its gradient at the R points of a request.

    value: F, float64 [R]
    rounding: what rounding may have done to it, float64 [R]
    gradient: dF/dO, [R, m, H, d], m being the query rows that matter; None if not asked for
    """

    value: Tensor
    rounding: Tensor
    gradient: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """One recorded batch, ready to be evaluated anywhere on its paths.

    unit: relative error of the logits by rounding alone
    tick: called after every pass, so that a caller may stop the work by an exception
    """

    replay: Replay
    recording: Recording
    objective: Objective
    target: Tensor
    budget: TokenBudget
    unit: float
    tick: Callable[[], None]

    def output(self, site: int) -> Tensor:
        """O of a site, its rows that matter, [B, m, H, d]."""
        return self.recording.relevant(site, self.recording.output[site].detach())

    def full_value(self) -> Evaluation:
        """F(1), the same for all sites, [B], without gradient."""
        return self._evaluation(*self.objective.value(self.recording.logits.detach(), self.target))

    def _evaluation(self, value: Tensor, odds: Tensor) -> Evaluation:
        # A probability near 0 or 1 keeps more digits than the logits it comes from.
        logit = odds.abs().maximum(value.abs()).clamp_min(1)
        rounding = self.unit * self.objective.slope(odds) * logit
        return Evaluation(value=value, rounding=rounding, gradient=None)

    def tokens_per_row(self, site: int) -> int:
        """Tokens that one row of a pass from this site has to carry."""
        # Behind a site of which one row matters, a pass works on one token per text.
        return self.recording.length if self.recording.needed_rows(site) is None else 1

    def sites_together(self) -> int:
        """Sites of which one point per example fits into one pass."""
        return max(1, self.budget.rows(self.recording.length) // len(self.target))

    def evaluate(self, requests: Sequence[Request]) -> list[Evaluation]:
        """Answer requests for different sites, in as many passes as the budget wants."""
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
        """Remove the rows of the next pass, at least one, each site at most once."""
        taken: list[tuple[int, Request]] = []
        left = self.budget.tokens
        while pending and not (taken and taken[-1][0] == pending[0][0]):
            index, request = pending[0]
            rows = left // self.tokens_per_row(request.site)
            if taken and rows < min(len(request.points), len(self.target)):
                break  # A few rows of one more site would not pay for starting it here.
            pending.popleft()
            rows = min(max(rows, 1), len(request.points))
            taken.append((index, request.part(0, rows)))
            if rows < len(request.points):
                pending.appendleft((index, request.part(rows, None)))
            left -= rows * self.tokens_per_row(request.site)
        return taken

    def _pass(self, requests: Sequence[Request]) -> list[Evaluation]:
        """One run of the model for all rows of the requests, sites in ascending order."""
        groups = []
        with torch.set_grad_enabled(any(request.gradient for request in requests)):
            for request in requests:
                output = self.output(request.site).index_select(0, request.examples)
                scale = request.points.to(output.dtype)[:, None, None, None]
                leaf = (output * scale).requires_grad_(request.gradient)
                groups.append(RowGroup(site=request.site, rows=request.examples, output=leaf))
            target = self.target.index_select(0, torch.cat([group.rows for group in groups]))
            value, odds = self.objective.value(self.replay.logits(self.recording, groups), target)
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
