"""How the engine gets between a model and its attention.

A function registered with transformers' attention interface hands every call of a model's
attention modules to the handler of the moment; single modules' forward methods are replaced for
the time of a context. Both are undone on leaving it, also by an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function

from headwise.errors import UnsupportedModelError

ATTENTION_NAME = "headwise"

Handler = Callable[..., Tensor]
"""(module, query, key, value, mask, scale) -> O, [B, n, H, d]; the rest as for ``attend``."""

_handler: ContextVar[Handler] = ContextVar("headwise_attention")


def _attention_function(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    return _handler.get()(module, query, key, value, attention_mask, scale), None


def _mask_function(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *,
    attention_mask: Tensor | None = None,
    mask_function: Callable[..., Any] | None = None,
    **_: object,
) -> Tensor | None:
    """Boolean padding mask [batch, 1, 1, keys], or None if nothing is padded."""
    if mask_function is not bidirectional_mask_function:
        raise UnsupportedModelError("its attention is causal, windowed or otherwise restricted")
    if attention_mask is None or bool(attention_mask.all()):
        return None
    return attention_mask.bool()[:, None, None, :]


AttentionInterface.register(ATTENTION_NAME, _attention_function)
AttentionMaskInterface.register(ATTENTION_NAME, _mask_function)


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """Fused attention; the result is O, [B, n, H, d]."""
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale
    )
    return output.transpose(1, 2)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


@contextmanager
def forward_replaced(
    replacements: Mapping[nn.Module, Callable[..., Any]],
) -> Iterator[None]:
    """Replace the forward of single module instances, restoring what was there."""
    missing = object()
    before = {module: module.__dict__.get("forward", missing) for module in replacements}
    try:
        for module, function in replacements.items():
            module.__dict__["forward"] = function
        yield
    finally:
        for module, original in before.items():
            if original is missing:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = original


def no_projection(module: nn.Linear) -> Callable[[Tensor], Tensor]:
    """A stand-in for a projection whose result is not used: right shape, no work, no memory."""
    features = module.out_features

    def forward(hidden: Tensor) -> Tensor:
        return hidden.new_zeros(()).expand(*hidden.shape[:-1], features)

    return forward
