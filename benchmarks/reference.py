"""Self-attention attribution straight from its definition: slow, short and easy to check.

Full attention matrices, one example and one attention module at a time, autograd through the
scaled matrix a * A, as the paper's code does it (Hao et al. 2021). It shares no code with
``headwise``, so that the tests can compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

_NAME = "reference-attribution"


@dataclass(kw_only=True)
class _Watch:
    """What the attention function records, and what it puts in place of a module's A."""

    attention: dict[nn.Module, Tensor] = field(default_factory=dict)
    replaced: nn.Module | None = None
    replacement: Tensor | None = None


_watch = _Watch()


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    attention = scores.softmax(-1)
    _watch.attention[module] = attention
    if module is _watch.replaced and _watch.replacement is not None:
        attention = _watch.replacement
    return (attention @ value).transpose(1, 2).contiguous(), attention


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, eager_mask)


@contextmanager
def _prepared(model: PreTrainedModel) -> Iterator[None]:
    """Eval mode and our attention, for the time of a call."""
    training, before = model.training, model.config._attn_implementation
    model.eval()
    model.config._attn_implementation = _NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before
        model.train(training)
        _watch.attention.clear()
        _watch.replaced = _watch.replacement = None


def _scalar(logits: Tensor, target: int, output: str) -> Tensor:
    """The target scalar of every row, [rows]."""
    if output == "logit":
        return logits[:, target]
    if output == "probability":
        return logits.softmax(-1)[:, target]
    return logits.log_softmax(-1)[:, target]


def _layer_of(model: PreTrainedModel, module: nn.Module) -> nn.Module:
    """The layer, a child of a ModuleList, that contains an attention module."""
    for parent in model.modules():
        if isinstance(parent, nn.ModuleList):
            for layer in parent:
                if any(child is module for child in layer.modules()):
                    return layer
    raise ValueError("the attention module is in no list of layers")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """attribution [S, H, n, n], attention [S, H, n, n], f0 and f1 [S], probabilities [C]."""

    attribution: NDArray[np.float64]
    attention: NDArray[np.float64]
    f0: NDArray[np.float64]
    f1: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def attribute_one(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    *,
    nodes: NDArray[np.float64],
    weights: NDArray[np.float64],
    target: int | None = None,
    output: str = "probability",
    chunk: int = 20,
    tick: Callable[[], None] = lambda: None,
) -> Reference:
    """Attribute one example, [1, n] per input, with any quadrature rule on [0, 1].

    target: index of a class; the predicted one by default
    chunk: points in one batch
    tick: called after every site

    Padding is kept: its cells are computed too, and come out as zero.
    """
    with _prepared(model):
        with torch.no_grad():
            logits = model(**inputs).logits
        known = dict(_watch.attention)
        chosen = int(logits.argmax()) if target is None else target
        maps, ends = [], []
        for module, attention in known.items():
            maps.append(
                _attribute_site(
                    model, inputs, module, attention, nodes, weights, chosen, output, chunk
                )
            )
            with torch.no_grad():
                _watch.replaced, _watch.replacement = module, torch.zeros_like(attention)
                ends.append(float(_scalar(model(**inputs).logits, chosen, output)))
            _watch.replaced = None
            tick()
        full = float(_scalar(logits, chosen, output))
    return Reference(
        attribution=torch.stack(maps).double().numpy(),
        attention=torch.cat(list(known.values())).double().numpy(),
        f0=np.array(ends),
        f1=np.full(len(ends), full),
        probabilities=logits.softmax(-1)[0].double().numpy(),
    )


def _attribute_site(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    module: nn.Module,
    attention: Tensor,
    nodes: NDArray[np.float64],
    weights: NDArray[np.float64],
    target: int,
    output: str,
    chunk: int,
) -> Tensor:
    """A * (sum of weights * dF/dA at nodes * A), [H, n, n]."""
    total = torch.zeros_like(attention[0])
    layer = _layer_of(model, module)
    for start in range(0, len(nodes), chunk):
        a = torch.as_tensor(nodes[start : start + chunk]).to(attention)
        w = torch.as_tensor(weights[start : start + chunk]).to(attention)
        scaled = (a[:, None, None, None] * attention).requires_grad_()

        def widen(_: nn.Module, given: tuple[Any, ...], rows: int = len(a)) -> tuple[Any, ...]:
            return (given[0].expand(rows, -1, -1), *given[1:])

        with ExitStack() as stack:
            # Layers before this one need only one row, in the paper's code as well.
            stack.callback(layer.register_forward_pre_hook(widen).remove)
            _watch.replaced, _watch.replacement = module, scaled
            scalar = _scalar(model(**inputs).logits, target, output)
            _watch.replaced = _watch.replacement = None
        (gradient,) = torch.autograd.grad(scalar.sum(), scaled)
        total += torch.einsum("p,phij->hij", w, gradient)
    return attention[0] * total
