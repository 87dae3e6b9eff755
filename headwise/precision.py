"""Numerical precision and determinism of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headwise.errors import OptionError
from headwise.replay import Inputs, Recording, Replay, RowGroup

PRECISIONS = ("float32", "tf32", "bf16")


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context for forward passes of a model; empty unless the precision is ``bf16``."""
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextmanager
def arithmetic(device: torch.device, precision: str, deterministic: bool) -> Iterator[None]:
    """Change torch's global settings for a run; leaving the context restores them.

    Raises OptionError for ``tf32`` without a GPU, and for a deterministic run on a GPU without the
    environment variable that makes cuBLAS deterministic.
    """
    if precision == "tf32" and device.type != "cuda":
        raise OptionError(f"precision 'tf32' needs a CUDA device; the model is on {device}")
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if deterministic and device.type == "cuda" and workspace not in (":4096:8", ":16:8"):
        raise OptionError(
            "deterministic=True on a CUDA device needs the environment variable "
            "CUBLAS_WORKSPACE_CONFIG=:4096:8, set before torch first uses the device"
        )
    with ExitStack() as stack:
        if precision == "tf32":
            before = torch.get_float32_matmul_precision()
            stack.callback(torch.set_float32_matmul_precision, before)
            torch.set_float32_matmul_precision("high")
        if deterministic:
            stack.callback(
                torch.use_deterministic_algorithms,
                torch.are_deterministic_algorithms_enabled(),
                warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            )
            torch.use_deterministic_algorithms(True)
        yield


def rounding_unit(precision: str, dtype: torch.dtype) -> float:
    """Return the relative error that rounding alone leaves in the output of a model."""
    if precision == "tf32":
        return 2.0**-11
    if precision == "bf16" or dtype in (torch.bfloat16, torch.float16):
        # Sums are in single precision; the output is rounded once, by at most half a unit.
        return torch.finfo(torch.bfloat16 if precision == "bf16" else dtype).eps / 2
    return 2 * torch.finfo(dtype).eps


class LoweredReplay(Replay):
    """A replay with forward passes in a lower precision, and integrals in single precision.

    Entering it checks the model in its own precision.
    """

    def __init__(self, model: PreTrainedModel, precision: str) -> None:
        super().__init__(model)
        self._precision = precision

    def record(self, inputs: Inputs) -> Recording:
        with autocast(self._precision, self.device):
            return super().record(inputs)

    def logits(self, recording: Recording, groups: Sequence[RowGroup]) -> Tensor:
        with autocast(self._precision, self.device):
            return super().logits(recording, groups)


def widened(recording: Recording) -> Recording:
    """Return a recording with O, query, key and value in single precision, without gradients."""
    output = [output.detach().float() for output in recording.output]
    return replace(recording, calls=[call.widened() for call in recording.calls], output=output)
