"""The same attribution by Captum's integrated gradients, as its user would write it.

One example and one attention module at a time: a forward function puts the tensor that it is
given in place of the module's attention probabilities, and Captum integrates from zero to their
original values. Other modules keep torch's fused attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

STEPS = 20
"""Points of the left Riemann sum, those of the paper's code for pruning."""

_NAME = "captum-attribution"


@dataclass(kw_only=True)
class _Replaced:
    """One module's probabilities, by the order of the modules in a forward pass."""

    site: int | None = None
    probabilities: Tensor | None = None
    calls: int = 0


_replaced = _Replaced()


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    _replaced.calls += 1
    if _replaced.calls - 1 == _replaced.site and _replaced.probabilities is not None:
        output = _replaced.probabilities @ value
        return output.transpose(1, 2).contiguous(), _replaced.probabilities
    result: tuple[Tensor, None] = sdpa_attention_forward(
        module, query, key, value, attention_mask, **options
    )
    return result


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)


def captum_one(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
    """Attribution of the predicted class's probability for one example, [S, H, n, n].

    inputs: [1, n] each, without padding; for models that use transformers' attention interface
    """
    from captum.attr import IntegratedGradients  # only here: it is for development

    with _attention(model, "eager"), torch.no_grad():
        known = model(**inputs, output_attentions=True)
    target = int(known.logits.argmax())
    with _attention(model, _NAME):
        maps = [
            IntegratedGradients(_forward(model, inputs, site)).attribute(
                probabilities,
                target=target,
                n_steps=STEPS,
                method="riemann_left",
                internal_batch_size=STEPS,
            )
            for site, probabilities in enumerate(known.attentions)
        ]
    attribution: NDArray[np.float32] = torch.cat(maps).detach().cpu().numpy()
    return attribution


def _forward(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], site: int
) -> Callable[[Tensor], Tensor]:
    """All classes' probabilities, [rows, C], given those of one module's attention."""

    def forward(probabilities: Tensor) -> Tensor:
        rows = {name: x.expand(len(probabilities), -1) for name, x in inputs.items()}
        _replaced.site, _replaced.probabilities, _replaced.calls = site, probabilities, 0
        try:
            logits: Tensor = model(**rows).logits
        finally:
            _replaced.site = _replaced.probabilities = None
        return logits.softmax(-1)

    return forward


@contextmanager
def _attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    before = model.config._attn_implementation
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = before
