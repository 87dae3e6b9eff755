"""Linear layers of frozen models through oneDNN, in both directions.

On CPUs torch multiplies single-precision matrices with MKL, which leaves AVX-512 alone on those
that are not Intel's and stays a tenth to a third below what oneDNN reaches there. On Intel's, and
with AVX2, MKL is the faster one: a little forward, and half as much again or more backward. The
operator that reaches oneDNN is the one behind torch's compiled linear layers; where a build of
torch lacks it, nothing is replaced. Which one runs depends on the machine alone, so that runs
there give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_CPUINFO = Path("/proc/cpuinfo")


class _Linear(torch.autograd.Function):
    """x W' + b for constant W and b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        return _multiply(gradients[0], ctx.weight.t(), None), None, None


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(
        x.contiguous(), weight, bias, "none", [], None
    )
    return result


def faster_linears(model: nn.Module) -> dict[nn.Module, Callable[..., Any]]:
    """Forward methods for the linear layers of a model whose parameters need no gradients."""
    reachable = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not (reachable and torch.backends.cpu.get_cpu_capability() == "AVX512" and _made_by_amd()):
        return {}
    return {
        module: _forward(module)
        for module in model.modules()
        # Subclasses may compute something else; small layers gain nothing.
        if type(module) is nn.Linear
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
        and min(module.weight.shape) >= 64
    }


@cache
def _made_by_amd() -> bool:
    return _CPUINFO.exists() and "AuthenticAMD" in _CPUINFO.read_text()


def _forward(module: nn.Linear) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        # Under autocast the inputs are of lower precision, and torch's own way is right.
        if x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return nn.functional.linear(x, module.weight, module.bias)
        result: Tensor = _Linear.apply(x, module.weight, module.bias)  # type: ignore[no-untyped-call]
        return result

    return forward
