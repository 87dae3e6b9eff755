"""Gradient evaluations on the path, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.objective import Objective
from headwise.replay import Group, Replay, Tape

# Rows x tokens of one pass. On a CPU the activations of a larger batch fall out of the cache.
_CPU_TOKENS = 1024
_CUDA_TOKENS = 32768


class TokenBudget:
    """How many tokens (rows x length) one pass may have; halved when memory runs out."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    @classmethod
    def default(cls, device: torch.device) -> TokenBudget:
        return cls(_CUDA_TOKENS if device.type == "cuda" else _CPU_TOKENS)

    def rows(self, n: int) -> int:
        """Rows of n tokens in one pass, at least one."""
        return max(1, self.tokens // n)

    def halve(self) -> None:
        self.tokens = max(1, self.tokens // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is a failed allocation, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """F and its gradient at R points of paths.

    value: F, odds: log odds of the target, float64 [R]
    gradient: dF/dO, [R, m, H, d], m being the query rows that matter; None if not asked for
    """

    value: Tensor
    odds: Tensor
    gradient: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Passes:
    """One recorded batch, ready to be evaluated anywhere on its paths.

    tick: called after every pass, so that a caller may stop the work by an exception
    """

    replay: Replay
    tape: Tape
    objective: Objective
    target: Tensor
    budget: TokenBudget
    tick: Callable[[], None]

    def output(self, site: int) -> Tensor:
        """O of a site, its rows that matter, [B, m, H, d]."""
        return self.tape.relevant(site, self.tape.output[site].detach())

    def evaluate(
        self, site: int, examples: Tensor, points: Tensor, *, gradient: bool = True
    ) -> Evaluation:
        """F at ``points[r] * O`` of example ``examples[r]``, both [R]; splits as needed."""
        parts: list[Evaluation] = []
        start = 0
        length = self.tokens_per_row(site)
        while start < len(points):
            stop = start + self.budget.rows(length)
            try:
                part = self._pass(site, examples[start:stop], points[start:stop], gradient)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.budget.rows(length) == 1:
                    raise
                self.budget.halve()
                _release(self.replay.device)
                continue
            parts.append(part)
            start = stop
            self.tick()
        gradients = [part.gradient for part in parts if part.gradient is not None]
        return Evaluation(
            value=torch.cat([part.value for part in parts]),
            odds=torch.cat([part.odds for part in parts]),
            gradient=torch.cat(gradients) if gradients else None,
        )

    def tokens_per_row(self, site: int) -> int:
        """Tokens that one row of a pass from this site has to carry."""
        # Behind a site of which one row matters, a pass works on one token per text.
        return self.tape.length if self.tape.rows(site) is None else 1

    def _pass(self, site: int, examples: Tensor, points: Tensor, gradient: bool) -> Evaluation:
        output = self.output(site).index_select(0, examples)
        scaled = output * points.to(output.dtype)[:, None, None, None]
        with torch.set_grad_enabled(gradient):
            leaf = scaled.requires_grad_(gradient)
            group = Group(site=site, rows=examples, output=leaf)
            logits = self.replay.logits(self.tape, [group])
            value, odds = self.objective.value(logits, self.target.index_select(0, examples))
            grad = torch.autograd.grad(value.sum(), leaf)[0] if gradient else None
        return Evaluation(value=value.detach(), odds=odds.detach(), gradient=grad)


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
