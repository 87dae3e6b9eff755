"""Hooks between a model and its attention.

A function registered with the attention interface of transformers passes every call of attention
to the current handler; forward methods of single modules are replaced within a context. Leaving
the context undoes both, also by an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

from headwise.errors import UnsupportedModelError

ATTENTION_NAME = "headwise"


@dataclass(frozen=True, kw_only=True)
class Attention:
    """One call of attention.

    query: [B, H, q, d]
    key, value: [B, H', n, d]; H is a multiple of H'
    mask: broadcastable to [B, H, q, n]; bool, True where a key takes part, or floating point,
        added to the scores
    scale: factor of the scores
    softcap: c, for c tanh(scores / c)
    sinks: [H], score of an additional key per head that has no value
    weights: A, [B, H, q, n], where the model shows nothing else; query and key are then 0 wide
    module: the calling module, where known
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    scale: float
    softcap: float | None = None
    sinks: Tensor | None = None
    weights: Tensor | None = None
    module: nn.Module | None = None

    def head(self, rows: int) -> Attention:
        """Return the call for the first rows of the batch."""
        mask = self.mask
        if mask is not None and len(mask) > 1:
            mask = mask[:rows]
        query, key, value = self.query[:rows], self.key[:rows], self.value[:rows]
        weights = None if self.weights is None else self.weights[:rows]
        return replace(self, query=query, key=key, value=value, mask=mask, weights=weights)

    def at(self, position: Tensor) -> Attention:
        """Return the call for one query per example, at ``position``, int [B]; cut the mask."""
        mask = self.mask
        if mask is not None and mask.shape[-2] > 1:
            mask = mask.expand(len(position), *mask.shape[1:])
            mask = mask[torch.arange(len(position), device=mask.device), :, position][:, :, None]
        return replace(self, mask=mask)

    def repeated(self) -> Attention:
        """Return the call with a key and a value for every query head."""
        heads = self.query.shape[1]
        return replace(self, key=_repeated(self.key, heads), value=_repeated(self.value, heads))

    def recorded(self) -> Attention:
        """Return the call as ``repeated`` and without gradients."""
        query, key, value = (t.detach() for t in (self.query, self.key, self.value))
        weights = None if self.weights is None else self.weights.detach()
        return replace(self, query=query, key=key, value=value, weights=weights).repeated()

    def widened(self) -> Attention:
        """Return the call in single precision."""
        mask = self.mask
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.float()
        query, key, value = self.query.float(), self.key.float(), self.value.float()
        weights = None if self.weights is None else self.weights.float()
        return replace(self, query=query, key=key, value=value, mask=mask, weights=weights)

    def probabilities(self) -> Tensor:
        """Return the attention probabilities A, [B, H, q, n]."""
        if self.weights is not None:
            return self.weights
        key = _repeated(self.key, self.query.shape[1])
        scores = self.query @ key.transpose(-1, -2) * self.scale
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if self.mask is not None and self.mask.dtype == torch.bool:
            scores = scores.masked_fill(~self.mask, float("-inf"))
        elif self.mask is not None:
            scores = scores + self.mask
        if self.sinks is None:
            return scores.softmax(-1)
        sinks = self.sinks.to(scores.dtype).view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        return torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]


def _repeated(tensor: Tensor, heads: int) -> Tensor:
    """Repeat the heads of keys and values that several query heads share (grouped queries)."""
    if tensor.shape[1] == heads:
        return tensor
    return tensor.repeat_interleave(heads // tensor.shape[1], 1)


Handler = Callable[[Attention], Tensor]
"""Returns O, [B, q, H, d], for a call of attention; see ``attend``."""

_handler: ContextVar[Handler] = ContextVar("headwise_attention")
_no_masks: ContextVar[bool] = ContextVar("headwise_no_masks", default=False)

# Arguments that do not change the result of attention: they choose how it is computed, are for
# other kernels, or are in the mask already, as the window is.
_IGNORED_ARGUMENTS = frozenset(
    {
        *("dropout", "sliding_window", "position_ids", "cache_position", "deterministic"),
        *("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "num_items_in_batch"),
        *("output_attentions", "output_hidden_states", "output_router_logits", "use_cache"),
        *("return_dict", "logits_to_keep", "layer_idx", "past_key_values", "token_type_ids"),
    }
)


def _attention_function(  # noqa: PLR0913 - signature of transformers
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    unknown = [k for k, v in others.items() if k not in _IGNORED_ARGUMENTS and v is not None]
    if unknown:
        raise UnsupportedModelError(f"its attention takes {', '.join(sorted(unknown))}")
    if is_causal and attention_mask is None and query.shape[2] > 1:
        raise UnsupportedModelError("its attention is causal without a mask")
    mask = attention_mask
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    if position_bias is not None:
        mask = _biased(position_bias.to(query.dtype), mask)
    call = Attention(
        module=module,
        query=query,
        key=key,
        value=value,
        mask=mask,
        scale=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        softcap=softcap,
        sinks=s_aux,
    )
    return _handler.get()(call), None


def _biased(bias: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return bias
    if mask.dtype == torch.bool:
        return torch.where(mask, bias, torch.finfo(bias.dtype).min)
    return bias + mask


def _mask_function(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *,
    attention_mask: Tensor | None = None,
    mask_function: Callable[..., Any] | None = None,
    **options: Any,
) -> Tensor | None:
    """A boolean mask: [B, 1, 1, keys] or None for padding alone, else [B, 1, queries, keys]."""
    if _no_masks.get():
        return None
    if mask_function is bidirectional_mask_function:
        if attention_mask is None or bool(attention_mask.all()):
            return None
        return attention_mask.bool()[:, None, None, :]
    options.update(allow_is_causal_skip=False, allow_is_bidirectional_skip=False)
    if mask_function is not None:
        options["mask_function"] = mask_function
    mask: Tensor = sdpa_mask(
        batch_size, q_length, kv_length, attention_mask=attention_mask, **options
    )
    # A padded query may see no key at all; let it see all, lest its softmax be 0 / 0.
    return mask | ~mask.any(-1, keepdim=True)


AttentionInterface.register(ATTENTION_NAME, _attention_function)
AttentionMaskInterface.register(ATTENTION_NAME, _mask_function)


def attend(call: Attention) -> Tensor:
    """Compute O, [B, q, H, d], by a fused kernel where there is one."""
    heads = call.query.shape[1]
    value = _repeated(call.value, heads)
    if not (call.softcap is None and call.sinks is None and call.weights is None):
        return (call.probabilities() @ value).transpose(1, 2)
    output = nn.functional.scaled_dot_product_attention(
        call.query,
        _repeated(call.key, heads),
        value,
        attn_mask=call.mask,
        scale=call.scale,
    )
    return output.transpose(1, 2)


class _Intercepting(TorchFunctionMode):
    """Intercepts attention outside the interface: a softmax whose result is multiplied by values.

    Fused attention of torch, called without the interface of transformers, is intercepted too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shapes: MutableMapping[Tensor, torch.Size] = WeakTensorKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        first = args[0] if args else None
        if name == "scaled_dot_product_attention":
            return _fused(*args, **kwargs)
        shape = self._shapes.get(first) if isinstance(first, Tensor) else None
        if shape is not None and name in _PRODUCTS and args[1].shape[-2] == shape[-1]:
            return _product(shape, args[0], args[1])
        result = function(*args, **kwargs)
        if name == "softmax" and result.dim() == 4:
            self._shapes[result] = result.shape
        elif shape is not None and name in _VALUE_PRESERVING and isinstance(result, Tensor):
            self._shapes[result] = shape
        return result


_PRODUCTS = frozenset({"matmul", "bmm", "__matmul__"})
_VALUE_PRESERVING = frozenset(
    {"dropout", "dropout_", "to", "type_as", "float", "view", "reshape", "contiguous", "type"}
)


def _product(shape: torch.Size, weights: Tensor, values: Tensor) -> Tensor:
    """The product of A, which was [B, H, q, n] before reshaping, and V, by way of the handler."""
    weights = weights.view(shape)
    batch, heads, queries, keys = shape
    value = values.expand(*weights.shape[:-2], *values.shape[-2:]) if values.dim() == 4 else values
    value = value.reshape(batch, heads, keys, -1)
    call = Attention(
        query=value.new_empty(batch, heads, queries, 0),
        key=value.new_empty(batch, heads, keys, 0),
        value=value,
        mask=None,
        scale=1.0,
        weights=weights,
    )
    output = _handler.get()(call).transpose(1, 2).contiguous()
    return output if values.dim() == 4 else output.reshape(-1, *output.shape[2:])


def _fused(  # noqa: PLR0913 - signature of torch
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if is_causal:
        n = query.shape[2]
        attn_mask = torch.ones(1, 1, n, n, dtype=torch.bool, device=query.device).tril()
    call = Attention(
        query=query,
        key=key,
        value=value,
        mask=attn_mask,
        scale=query.shape[-1] ** -0.5 if scale is None else scale,
    )
    return _handler.get()(call).transpose(1, 2).contiguous()


_intercepts: ContextVar[bool] = ContextVar("headwise_intercepts", default=False)


@contextmanager
def intercepting(wanted: bool) -> Iterator[None]:
    """Set whether handlers in this context also get attention outside the interface."""
    token = _intercepts.set(wanted)
    try:
        yield
    finally:
        _intercepts.reset(token)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Pass all attention in this context to a handler."""
    token = _handler.set(handler)
    try:
        with _Intercepting() if _intercepts.get() else nullcontext():
            yield
    finally:
        _handler.reset(token)


@contextmanager
def without_masks() -> Iterator[None]:
    """Build no masks in this context: every layer gets the recorded ones."""
    token = _no_masks.set(True)
    try:
        yield
    finally:
        _no_masks.reset(token)


@contextmanager
def forward_replaced(
    replacements: Mapping[nn.Module, Callable[..., Any]],
) -> Iterator[None]:
    """Replace the forward methods of single modules in this context."""
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


class LeadingRows:
    """The first rows of tensors with ``whole`` rows; the same tensor is cut once.

    Query, key and value are projections of the same tensor: one cut is one step of the backward
    pass instead of three.
    """

    def __init__(self, whole: int) -> None:
        self.whole = whole
        self._cut: tuple[Tensor, Tensor] | None = None

    def of(self, tensor: Tensor, rows: int) -> Tensor:
        """Return the first rows of a tensor."""
        if self._cut is None or self._cut[0] is not tensor or len(self._cut[1]) != rows:
            self._cut = tensor, tensor[:rows]
        return self._cut[1]


def leading_projection(
    module: nn.Linear, rows: int, first: LeadingRows
) -> Callable[[Tensor], Tensor]:
    """Return a forward method for a projection of which only the first rows are used.

    The other rows are NaN, so that using them does not go unnoticed; without any rows, it takes
    neither work nor memory.
    """
    project = module.forward

    def forward(hidden: Tensor) -> Tensor:
        nothing = hidden.new_full((), float("nan"))
        if not rows:
            return nothing.expand(*hidden.shape[:-1], module.out_features)
        if len(hidden) != first.whole:  # not one entry per row
            return project(hidden)
        used = project(first.of(hidden, rows))
        rest = nothing.to(used.dtype).expand(len(hidden) - rows, *used.shape[1:])
        return torch.cat([used, rest])

    return forward
