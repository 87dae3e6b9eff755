"""In which arithmetic the model runs, and whether two runs give the same bytes."""

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
from headwise.replay import Group, Inputs, Replay, Tape

PRECISIONS = ("float32", "tf32", "bf16")


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """For the forward passes of a model; does nothing unless the precision is ``bf16``."""
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextmanager
def arithmetic(device: torch.device, precision: str, deterministic: bool) -> Iterator[None]:
    """Torch's global settings for a run, put back on leaving, also by an exception.

    Raises OptionError for ``tf32`` without a GPU, and for a deterministic run on a GPU whose
    matrix library was not told to be deterministic.
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
    """Relative error that rounding alone leaves in a model's output."""
    if precision == "tf32":
        return 2.0**-11
    if precision == "bf16" or dtype in (torch.bfloat16, torch.float16):
        # Sums are in single precision; the output is rounded once, to half a unit.
        return torch.finfo(torch.bfloat16 if precision == "bf16" else dtype).eps / 2
    return 2 * torch.finfo(dtype).eps


class LoweredReplay(Replay):
    """A replay whose forward passes run in a lower precision, its integrals in single precision.

    The model is checked, on entering, in its own precision.
    """

    def __init__(self, model: PreTrainedModel, precision: str) -> None:
        super().__init__(model)
        self._precision = "float32"
        self._wanted = precision

    def __enter__(self) -> LoweredReplay:
        super().__enter__()
        self._precision = self._wanted
        return self

    def record(self, inputs: Inputs) -> Tape:
        with autocast(self._precision, self.device):
            return super().record(inputs)

    def logits(self, tape: Tape, groups: Sequence[Group]) -> Tensor:
        with autocast(self._precision, self.device):
            return super().logits(tape, groups)


def widened(tape: Tape) -> Tape:
    """The same tape with O, query, key and value in single precision, no longer in the graph."""

    calls = [call.widened() for call in tape.calls]
    return replace(tape, calls=calls, output=[output.detach().float() for output in tape.output])
