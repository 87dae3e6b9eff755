"""Running a model as it is, without what training and compilers add."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Disable gradients and dropout in this context; leaving it restores every module."""
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(setattr, module, "training", module.training)
        model.eval()
        stack.enter_context(uncompiled())
        stack.enter_context(torch.no_grad())
        yield


def uncompiled() -> AbstractContextManager[object]:
    """Run compiled models uncompiled in this context.

    The hooks of a replay change with every pass, so that each would be compiled anew: minutes for
    a model that runs in milliseconds.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()  # nothing is compiled, and its import takes a second
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
