"""Finding a model's layers and attention modules by watching it run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.errors import UnsupportedModelError
from headwise.patching import attend, handling


@dataclass(kw_only=True)
class Block:
    """A layer with its attention module and what discovery learnt about it."""

    module: nn.Module
    attention: nn.Module
    returns_tuple: bool = False
    projections: list[nn.Linear] = field(default_factory=list)
    key: nn.Linear | None = None
    value: nn.Linear | None = None


def hidden_of(output: Any) -> Tensor:
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor):
        raise UnsupportedModelError("its layers do not return a tensor")
    return hidden


def find_blocks(model: PreTrainedModel, probe: dict[str, Tensor]) -> list[Block]:
    """Run once and watch which layers call the attention interface, and how."""
    running: list[Block] = []
    order: list[Block] = []
    chained: list[tuple[Tensor, Tensor]] = []
    linears: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def handler(module: nn.Module, query: Tensor, key: Tensor, *rest: Any) -> Tensor:
        if not running:
            raise UnsupportedModelError("attention is called outside a list of layers")
        block = running[-1]
        if block.attention is not block.module:
            raise UnsupportedModelError("a layer has more than one attention module")
        block.attention = module
        inside = set(module.modules())
        block.projections = [linear for linear, _, _ in linears if linear in inside]
        if query.shape[:2] == key.shape[:2]:
            given = chained_inputs[-1]
            block.key = _projection_of(key, given, linears)
            block.value = _projection_of(rest[0], given, linears)
        order.append(block)
        return attend(module, query, key, *rest)

    chained_inputs: list[Tensor] = []

    def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if not arguments or not isinstance(arguments[0], Tensor):
            raise UnsupportedModelError("its layers take no hidden state as first argument")
        running.append(Block(module=module, attention=module))
        chained_inputs.append(arguments[0])
        linears.clear()

    def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        block = running.pop()
        block.returns_tuple = isinstance(output, tuple)
        if block.attention is not block.module:
            chained.append((chained_inputs.pop(), hidden_of(output)))

    def linear_done(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        linears.append((module, arguments[0], output))  # type: ignore[arg-type]

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.Linear):
                stack.callback(module.register_forward_hook(linear_done).remove)
            if isinstance(module, nn.ModuleList):
                for layer in module:
                    stack.callback(layer.register_forward_pre_hook(before).remove)
                    stack.callback(layer.register_forward_hook(after).remove)
        stack.enter_context(handling(handler))
        model(**probe)
    if not order:
        raise UnsupportedModelError("its attention does not use transformers' interface")
    for (_, result), (given, _) in pairwise(chained):
        if not _same(result, given):
            raise UnsupportedModelError("its layers do not form a chain")
    return order


def _projection_of(
    tensor: Tensor, hidden: Tensor, linears: Sequence[tuple[nn.Linear, Tensor, Tensor]]
) -> nn.Linear | None:
    """The layer whose output on the block's input, split into heads, is this key or value."""
    for linear, given, output in linears:
        heads, width = tensor.shape[1], tensor.shape[3]
        if _same(given, hidden) and output.shape[-1] == heads * width:
            split = output.view(*hidden.shape[:2], heads, width).transpose(1, 2)
            if _same(split, tensor):
                return linear
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal bit for bit; NaN, which broken weights give, equals NaN."""
    if one.shape != other.shape:
        return False
    return torch.equal(one, other) or torch.equal(one.nan_to_num(), other.nan_to_num())


def probe_inputs(model: PreTrainedModel, seed: int) -> dict[str, Tensor]:
    """Two random texts of seven tokens, the second padded by two."""
    vocabulary = model.get_input_embeddings().num_embeddings
    pad = model.config.pad_token_id or 0
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocabulary, (2, 7), generator=generator)
    ids[ids == pad] = (pad + 1) % vocabulary
    mask = torch.ones_like(ids)
    ids[1, 5:] = pad
    mask[1, 5:] = 0
    return {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
