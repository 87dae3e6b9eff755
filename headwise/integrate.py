"""The integral of dF/dO along the path, per example and site.

How ``integrate_auto`` chooses the points. It uses three nested rules (``lobatto_levels``) whose
nodes include both ends of the path: a = 1 costs one backward pass for all sites together, and
a = 0 is needed for F(0) anyway. After each level the error of the attribution is estimated,
relative to its L2 norm over heads and cells, by the largest of

    0.5 |residual|     residual = sum over nodes of w <O, g> - (F(1) - F(0))
    0.1 null^1.5       null = norm of the attribution with the nodes' null weights for w
    0.3 change^1.5     change = norm of the difference to the level before

each relative too. The residual is the one component of the error that is known exactly; in the
median it is 2.7 times the error. The others see all cells and guard against its vanishing by
chance; the error is of a higher order than they are, hence the power (as in QUADPACK). The
constants are set on fine-tuned MiniLM classifiers (MNLI, SST-2) such that about 2 % of the
pairs of example and site miss their tolerance. Pairs that fail go on to the next level and keep
what has been evaluated; behind the third level stands one Gauss-Legendre rule.

The choice depends on the example alone, never on its batch or on what ran before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwise.passes import Passes
from headwise.quadrature import Rule, gauss_legendre, lobatto_levels, null_weights

_RESIDUAL_FACTOR, _NULL_FACTOR, _CHANGE_FACTOR, _POWER = 0.5, 0.1, 0.3, 1.5
# Rounding leaves this many units in the last place of F in the residual; less is not an error.
_ROUNDING_UNITS = 8


@dataclass(frozen=True, kw_only=True)
class Integral:
    """Result for one site of a batch of B examples.

    gradient: integral of dF/dO, [B, m, H, d]
    f0, f1: F(0), F(1), float64 [B]
    points: nodes evaluated, both ends included, int [B]
    converged: bool [B], the estimated error met the tolerance
    """

    gradient: Tensor
    f0: Tensor
    f1: Tensor
    points: Tensor
    converged: Tensor


def integrate_fixed(passes: Passes, site: int, rule: Rule) -> Integral:
    """Apply one rule to every example."""
    device = passes.replay.device
    total = torch.zeros_like(passes.output(site))
    batch = len(total)
    everyone = torch.arange(batch, device=device)
    step = max(1, passes.budget.rows(passes.tokens_per_row(site)) // batch)
    nodes = torch.as_tensor(rule.nodes, device=device)
    weights = torch.as_tensor(rule.weights, device=device)
    for start in range(0, len(nodes), step):
        x, w = nodes[start : start + step], weights[start : start + step]
        rows = everyone.repeat(len(x))
        part = passes.evaluate(site, rows, x.repeat_interleave(batch))
        assert part.gradient is not None
        weighted = part.gradient.view(len(x), *total.shape)
        total += torch.einsum("p,pbmhd->bmhd", w.to(total.dtype), weighted)
    f0 = passes.evaluate(site, everyone, torch.zeros_like(everyone), gradient=False).value
    f1, _ = passes.objective.value(passes.tape.logits.detach(), passes.target)
    return Integral(
        gradient=total,
        f0=f0,
        f1=f1,
        points=torch.full((batch,), len(nodes), device=device),
        converged=torch.ones(batch, dtype=torch.bool, device=device),
    )


def integrate_auto(
    passes: Passes,
    site: int,
    end: Tensor,
    norm: Callable[[Tensor, Tensor], Tensor],
    rtol: float,
    max_points: int,
) -> Integral:
    """Raise the number of points of each example until its estimated error meets ``rtol``.

    end: dF/dO at a = 1, [B, m, H, d]
    norm: norm(gradients, examples) is the L2 norm of A * (G V'), [b], for integrals [b, m, H, d]
        of dF/dO of these examples [b]
    rtol: relative to the norm of the site's attribution; besides, an error within the rounding
        of F (8 units in the last place) always passes, so that a site that does next to nothing
        costs no points
    max_points: the most points of a pair; if that does not suffice, it is not converged
    """
    device, batch = end.device, len(end)
    # One more node per decade was cheapest for tolerances of 1e-2, 1e-3 and 1e-4.
    interior = min(8, max(1, round(1 - math.log10(rtol))), max_points - 2)
    levels = [r for r in lobatto_levels(interior) if len(r.nodes) <= max_points]
    everyone = torch.arange(batch, device=device)
    inner = torch.as_tensor(levels[0].nodes[:-1], device=device)
    part = passes.evaluate(site, everyone.repeat(len(inner)), inner.repeat_interleave(batch))
    assert part.gradient is not None
    gradients = torch.cat([part.gradient.view(-1, *end.shape), end[None]])
    start = part.value[:batch]
    full, _ = passes.objective.value(passes.tape.logits.detach(), passes.target)
    search = _Search(
        passes=passes,
        site=site,
        norm=norm,
        rtol=rtol,
        difference=full - start,
        scale=torch.stack([full.abs(), start.abs(), torch.ones_like(full)]).amax(0),
        active=everyone,
        gradients=gradients,
        result=torch.zeros_like(end),
        points=torch.full((batch,), len(gradients), device=device),
        converged=torch.zeros(batch, dtype=torch.bool, device=device),
    )
    search.settle(levels[0])
    for rule in levels[1:]:
        search.refine(rule)
    left = max_points - len(levels[-1].nodes)
    if left > len(levels[-1].nodes):
        search.restart(gauss_legendre(left))
    return Integral(
        gradient=search.result,
        f0=start,
        f1=full,
        points=search.points,
        converged=search.converged,
    )


@dataclass(kw_only=True)
class _Search:
    """The state of ``integrate_auto``: what the b examples that have not met rtol have so far.

    active: their indices in the batch, [b]
    gradients: dF/dO at the nodes of the last rule, in its order, [k, b, m, H, d]
    difference, scale: F(1) - F(0) and the magnitude of F for rounding, float64 [B]
    result, points, converged: as in Integral, for the whole batch
    comparable: ``result`` is that of the level before
    """

    passes: Passes
    site: int
    norm: Callable[[Tensor, Tensor], Tensor]
    rtol: float
    difference: Tensor
    scale: Tensor
    active: Tensor
    gradients: Tensor
    result: Tensor
    points: Tensor
    converged: Tensor
    comparable: bool = False

    def refine(self, rule: Rule) -> None:
        """Evaluate the nodes of a rule that are new."""
        if not len(self.active):
            return
        new = self._evaluate(rule.nodes[len(self.gradients) :])
        self.gradients = torch.cat([self.gradients, new])
        self.settle(rule)

    def restart(self, rule: Rule) -> None:
        """Evaluate a rule from nothing; it has so many points that the last level tells little."""
        if not len(self.active):
            return
        self.comparable = False
        self.gradients = self._evaluate(rule.nodes)
        self.settle(rule)

    def _evaluate(self, nodes: NDArray[np.float64]) -> Tensor:
        count = len(self.active)
        points = torch.as_tensor(nodes, device=self.active.device).repeat_interleave(count)
        part = self.passes.evaluate(self.site, self.active.repeat(len(nodes)), points)
        assert part.gradient is not None
        self.points[self.active] += len(nodes)
        return part.gradient.view(len(nodes), count, *part.gradient.shape[1:])

    def settle(self, rule: Rule) -> None:
        """Integrate by a rule whose nodes are evaluated; let those that meet rtol go."""
        integral = self._weighted(rule.weights)
        size = self.norm(integral, self.active).double()
        null = self.norm(self._weighted(null_weights(rule.nodes)), self.active).double()
        before = self.result[self.active] if self.comparable else integral
        change = self.norm(integral - before, self.active).double()
        output = self.passes.output(self.site).index_select(0, self.active)
        total = (output * integral).sum((1, 2, 3), dtype=torch.float64)
        residual = (total - self.difference[self.active]).abs()
        shrink = size.clamp_min(torch.finfo(torch.float64).tiny) ** (1 - _POWER)
        error = torch.stack(
            [
                _RESIDUAL_FACTOR * residual,
                _NULL_FACTOR * null**_POWER * shrink,
                _CHANGE_FACTOR * change**_POWER * shrink,
            ]
        ).amax(0)
        unit = torch.finfo(integral.dtype).eps
        good = error <= self.rtol * size + _ROUNDING_UNITS * unit * self.scale[self.active]
        # What is not finite will not become so; it is reported as a failed example.
        done = good | ~residual.isfinite()
        self.comparable = True
        self.result[self.active] = integral
        self.converged[self.active] = good
        self.active = self.active[~done]
        self.gradients = self.gradients[:, ~done]

    def _weighted(self, weights: NDArray[np.float64]) -> Tensor:
        return torch.einsum(
            "k,kbmhd->bmhd", torch.as_tensor(weights).to(self.gradients), self.gradients
        )
