"""Shrinking the projections of an attention module to the remaining heads."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.pytorch_utils import Conv1D

from headwise.pruning.wiring import Mask, Wiring

Run = tuple[int, int, int]
"""(start, stop, times): features start, ..., stop - 1 remain, and are repeated."""

# Names of the sizes of a module, which change if they have the expected value.
_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head")
_KEY_VALUE_HEADS = ("num_key_value_heads", "num_kv_heads", "kv_heads")
_GROUPS = ("num_key_value_groups",)
_WIDTH = ("all_head_size", "split_size", "embed_dim", "hidden_size", "inner_dim", "kv_dim")

SIZE_NAMES = frozenset((*_HEADS, *_KEY_VALUE_HEADS, *_GROUPS, *_WIDTH))

_NO_ATTENTION = "headwise-none"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The change of one attention module, by qualified names; all that loading needs.

    attributes: new sizes of the module
    inputs: per projection before the attention, the outputs that remain
    output: the output projection
    columns: its inputs that remain
    empty: no head remains; the one that the other fields leave is not computed
    """

    module: str
    attributes: dict[str, int]
    inputs: dict[str, list[Run]]
    output: str
    columns: list[Run]
    empty: bool

    def apply(self, model: nn.Module) -> None:
        """Shrink a model's modules in place."""
        module = model.get_submodule(self.module)
        for name, value in self.attributes.items():
            setattr(module, name, value)
        for name, runs in self.inputs.items():
            layer = model.get_submodule(name)
            width = sum((stop - start) * times for start, stop, times in runs)
            if self.empty:
                model.set_submodule(name, _Zeros(width))
                continue
            _narrow(layer, _features(runs), outputs=True)
            if any(times > 1 for _, _, times in runs):
                model.set_submodule(name, nn.Sequential(layer, _Take(runs)))
        layer = model.get_submodule(self.output)
        if not self.empty:
            _narrow(layer, _features(self.columns), outputs=False)
            return
        model.set_submodule(self.output, _Constant(layer))
        config: Any = copy.deepcopy(getattr(module, "config", None))
        if config is not None:
            config._attn_implementation = _NO_ATTENTION
            module.config = config


def cut_of(module: nn.Module, wiring: Wiring, keep: Mask) -> Cut:
    """Return the cut that leaves a module the heads ``keep``, or its first if there are none."""
    heads = wiring.site.heads
    empty = not keep[:heads].any()
    keep = np.arange(heads) == 0 if empty else keep[:heads]
    stay = int(keep.sum())
    # Features of several heads are keys and values that a group of query heads shares.
    before = max(int(used.sum(1).max()) for used in wiring.inputs.values())
    counts = [(used & keep).sum(1)[used.sum(1) > 1] for used in wiring.inputs.values()]
    group = math.gcd(*(int(n) for n in np.concatenate(counts))) or 1
    width = len(wiring.columns) // heads
    sizes = {
        **dict.fromkeys(_HEADS, (heads, stay)),
        **dict.fromkeys(_KEY_VALUE_HEADS, (heads // before, stay // group)),
        **dict.fromkeys(_GROUPS, (before, group)),
        **dict.fromkeys(_WIDTH, (heads * width, stay * width)),
    }
    return Cut(
        module=wiring.site.name,
        attributes={
            name: new for name, (old, new) in sizes.items() if getattr(module, name, None) == old
        },
        inputs={name: _runs(used, keep, group) for name, used in wiring.inputs.items()},
        output=wiring.output,
        columns=_runs(wiring.columns, keep, group),
        empty=empty,
    )


def emptied(model: nn.Module) -> str | None:
    """Return the qualified name of the first output projection without any head, if any."""
    names = (name for name, module in model.named_modules() if isinstance(module, _Constant))
    return next(names, None)


def _runs(used: Mask, keep: Mask, group: int) -> list[Run]:
    """Features that belong to a remaining head or to none, in runs that the same heads need."""
    changes = np.flatnonzero((used[1:] != used[:-1]).any(1)) + 1
    runs: list[Run] = []
    for start, stop in pairwise([0, *changes.tolist(), len(used)]):
        needed, several = int((used[start] & keep).sum()), used[start].sum() > 1
        if needed or not used[start].any():
            times = needed // group if several else 1
            joined = runs and times == 1 and runs[-1][1:] == (start, 1)
            runs[-1:] = [(runs[-1][0], stop, 1)] if joined else [*runs[-1:], (start, stop, times)]
    return runs


def _features(runs: list[Run]) -> Tensor:
    return torch.cat([torch.arange(start, stop) for start, stop, _ in runs])


def _narrow(layer: nn.Module, index: Tensor, outputs: bool) -> None:
    """Reduce a linear layer to some of its output or input features."""
    assert isinstance(layer, nn.Linear | Conv1D)
    transposed = isinstance(layer, Conv1D)
    index = index.to(layer.weight.device)

    def selected(parameter: Tensor, dim: int) -> nn.Parameter:
        kept = parameter.detach().index_select(dim, index)
        return nn.Parameter(kept, requires_grad=parameter.requires_grad)

    layer.weight = selected(layer.weight, int(outputs == transposed))
    if outputs and layer.bias is not None:
        layer.bias = selected(layer.bias, 0)
    names = ("nx", "nf") if transposed else ("in_features", "out_features")
    setattr(layer, names[outputs], len(index))


class _Take(nn.Module):
    """Repeats a shared key or value once per remaining group of query heads."""

    index: Tensor

    def __init__(self, runs: list[Run]) -> None:
        super().__init__()
        first, blocks = 0, []
        for start, stop, times in runs:
            blocks += [torch.arange(first, first + stop - start)] * times
            first += stop - start
        self.register_buffer("index", torch.cat(blocks), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return features.index_select(-1, self.index)


class _Zeros(nn.Module):
    """Replaces a projection whose result is not used: zeros of the right shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.new_zeros(*hidden.shape[:-1], self.width)


class _Constant(nn.Module):
    """Replaces an output projection without any head: its bias."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, nn.Linear | Conv1D)
        self.bias = layer.bias
        self.width = layer.weight.shape[int(isinstance(layer, Conv1D))]

    def forward(self, hidden: Tensor) -> Tensor:
        shape = (*hidden.shape[:-1], self.width)
        return hidden.new_zeros(shape) if self.bias is None else self.bias.expand(shape)


def _no_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any
) -> tuple[Tensor, None]:
    """Return zeros in the shape of O, [B, n, H, d], for an output projection that ignores it."""
    # Not len(query), which would be a constant in an ONNX export.
    batch, heads, n = query.shape[:3]
    return query.new_zeros(batch, n, heads, value.shape[3]), None


AttentionInterface.register(_NO_ATTENTION, _no_attention)
