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
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

_NAME = "reference-attribution"


@dataclass(kw_only=True)
class _Watch:
    """The attention recorded by site, and the replacement for one site's A.

    Sites are numbered by their order in a forward pass, as a module may run several times.
    """

    attention: list[Tensor] = field(default_factory=list)
    modules: list[nn.Module | None] = field(default_factory=list)
    replaced: int | None = None
    replacement: Tensor | None = None

    def seen(self, module: nn.Module | None, attention: Tensor) -> Tensor:
        """Record A of the next site; the result is the A to go on with."""
        site = len(self.attention)
        self.attention.append(attention)
        self.modules.append(module)
        if site == self.replaced and self.replacement is not None:
            return self.replacement
        return attention

    def clear(self) -> None:
        self.attention.clear()
        self.modules.clear()


_watch = _Watch()


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    position_bias: Tensor | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    heads = query.shape[1]
    key = key.repeat_interleave(heads // key.shape[1], dim=1)
    value = value.repeat_interleave(heads // value.shape[1], dim=1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        scores = scores + attention_mask
    if s_aux is not None:
        sinks = s_aux[None, :, None, None].expand(*scores.shape[:3], 1)
        scores = torch.cat([scores, sinks], dim=-1)
    attention = scores.softmax(-1)[..., : key.shape[2]]
    attention = _watch.seen(module, attention)
    return (attention @ value).transpose(1, 2).contiguous(), attention


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, eager_mask)

_softmax = nn.functional.softmax


def _watched_softmax(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """For models that write attention out: every softmax over [rows, H, n, n] is a site."""
    result = _softmax(tensor, *args, **kwargs)
    square = result.dim() == 4 and result.shape[-1] == result.shape[-2]
    return _watch.seen(None, result) if square else result


@contextmanager
def _prepared(model: PreTrainedModel, written_out: bool) -> Iterator[None]:
    """Eval mode and this module's attention for the duration of a call."""
    training = model.training
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    before = [(c, c._attn_implementation, getattr(c, "use_cache", None)) for c in configs.values()]
    model.eval()
    with ExitStack() as stack:
        for config, *_ in before:
            config._attn_implementation = "eager" if written_out else _NAME
            if getattr(config, "use_cache", None):
                config.use_cache = False
        if written_out:
            stack.enter_context(patch.object(nn.functional, "softmax", _watched_softmax))
        try:
            yield
        finally:
            for config, attention, cache in before:
                config._attn_implementation = attention
                if cache is not None:
                    config.use_cache = cache
            model.train(training)
            _watch.clear()
            _watch.replaced = _watch.replacement = None


def _logits(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Tensor:
    _watch.clear()
    logits: Tensor = model(**inputs).logits
    return logits


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
    share: bool = True,
    written_out: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> Reference:
    """Attribute one example, [1, n] per input, with any quadrature rule on [0, 1].

    target: index of a class; the predicted one by default
    chunk: points in one batch
    share: run the layers before a site for one row only, as the paper's code does; right for
        chains of layers alone
    written_out: the model does not use transformers' attention interface
    tick: called after every site

    Padding is kept: its cells are computed too, and come out as zero.
    """
    with _prepared(model, written_out):
        with torch.no_grad():
            logits = _logits(model, inputs)
        known = list(zip(_watch.modules, _watch.attention, strict=True))
        chosen = int(logits.argmax()) if target is None else target
        maps, ends = [], []
        for site, (module, attention) in enumerate(known):
            layer = _layer_of(model, module) if share and module is not None else None
            maps.append(
                _attribute_site(
                    model, inputs, site, layer, attention, nodes, weights, chosen, output, chunk
                )
            )
            with torch.no_grad():
                _watch.replaced, _watch.replacement = site, torch.zeros_like(attention)
                ends.append(float(_scalar(_logits(model, inputs), chosen, output)))
            _watch.replaced = None
            tick()
        full = float(_scalar(logits, chosen, output))
    if not known:
        raise ValueError("no attention is seen: is it written out?")
    return Reference(
        attribution=torch.stack(maps).double().cpu().numpy(),
        attention=torch.cat([attention for _, attention in known]).double().cpu().numpy(),
        f0=np.array(ends),
        f1=np.full(len(ends), full),
        probabilities=logits.softmax(-1)[0].double().cpu().numpy(),
    )


def _attribute_site(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    site: int,
    layer: nn.Module | None,
    attention: Tensor,
    nodes: NDArray[np.float64],
    weights: NDArray[np.float64],
    target: int,
    output: str,
    chunk: int,
) -> Tensor:
    """A * (sum of weights * dF/dA at nodes * A), [H, n, n]."""
    total = torch.zeros_like(attention[0])
    for start in range(0, len(nodes), chunk):
        a = torch.as_tensor(nodes[start : start + chunk]).to(attention)
        w = torch.as_tensor(weights[start : start + chunk]).to(attention)
        scaled = (a[:, None, None, None] * attention).requires_grad_()

        def widen(_: nn.Module, given: tuple[Any, ...], rows: int = len(a)) -> tuple[Any, ...]:
            return (given[0].expand(rows, -1, -1), *given[1:])

        given = inputs
        with ExitStack() as stack:
            if layer is None:
                given = {k: v.repeat(len(a), *[1] * (v.dim() - 1)) for k, v in inputs.items()}
            else:
                stack.callback(layer.register_forward_pre_hook(widen).remove)
            _watch.replaced, _watch.replacement = site, scaled
            scalar = _scalar(_logits(model, given), target, output)
            _watch.replaced = _watch.replacement = None
        (gradient,) = torch.autograd.grad(scalar.sum(), scaled)
        total += torch.einsum("p,phij->hij", w, gradient)
    return attention[0] * total
