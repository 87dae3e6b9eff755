"""The features of linear layers that belong to each attention head.

They are found by autograd in one forward pass on random token ids, without names: an output of a
projection belongs to the heads whose query, key or value depends on it, an input of the output
projection to the head that it depends on. This works for fused and interleaved projections, too.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from headwise.errors import UnsupportedModelError
from headwise.replay import Inputs, Replay, Site
from headwise.replay.hooks import Attention, attend, handling

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The features of linear layers that belong to each head of a site.

    inputs: by name, projections before the attention, bool [output features, heads]
    output: name of the output projection
    columns: its input features, bool [input features, heads]
    """

    site: Site
    inputs: dict[str, Mask]
    output: str
    columns: Mask


class Watch:
    """One forward pass, with the graph cut after every linear layer and every attention.

    products: every call of a linear layer: its name, input and output
    attentions: per site the number of products before it, the call, and O, [B, n, H, d]
    """

    def __init__(self, replay: Replay, inputs: Inputs) -> None:
        self.products: list[tuple[str, Tensor, Tensor]] = []
        self.attentions: list[tuple[int, Attention, Tensor]] = []
        with ExitStack() as stack:
            for name, module in replay.model.named_modules():
                if isinstance(module, nn.Linear | Conv1D):
                    hook = module.register_forward_hook(
                        lambda module, args, output, name=name: (
                            self._product(name, args[0], output)
                            if _is_product(module, args[0], output)
                            else None
                        )
                    )
                    stack.callback(hook.remove)
            stack.enter_context(torch.enable_grad())
            stack.enter_context(handling(self._attention))
            replay.model(**inputs)

    def _product(self, name: str, given: Tensor, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        self.products.append((name, given, leaf))
        return leaf.clone()  # some models add to it in place

    def _attention(self, call: Attention) -> Tensor:
        output = attend(call).detach().requires_grad_()
        self.attentions.append((len(self.products), call.repeated(), output))
        return output

    @torch.enable_grad()
    def wiring(self, site: Site) -> Wiring:
        """Return the wiring of a site.

        Raises UnsupportedModelError if features cannot be assigned to heads.
        """
        bounds = [0, *(count for count, _, _ in self.attentions), len(self.products)]
        first, here, stop = bounds[site.index : site.index + 3]
        _, call, output = self.attentions[site.index]
        name, columns = self._output(output, self.products[here:stop])
        inputs = self._inputs(call, self.products[first:here])
        return Wiring(site=site, inputs=inputs, output=name, columns=columns)

    @staticmethod
    def _inputs(call: Attention, products: list[tuple[str, Tensor, Tensor]]) -> dict[str, Mask]:
        scores = (call.query, call.key) if call.weights is None else (call.weights,)
        heads = call.value.shape[1]
        leaves = [leaf for _, _, leaf in products]
        used = {name: np.zeros((leaf.shape[-1], heads), dtype=bool) for name, _, leaf in products}
        for head in range(heads):
            parts = [_noise_sum(tensor[:, head]) for tensor in (*scores, call.value)]
            gradients = torch.autograd.grad(
                torch.stack(parts).sum(), leaves, retain_graph=True, allow_unused=True
            )
            for (name, _, _), gradient in zip(products, gradients, strict=True):
                if gradient is not None:
                    used[name][:, head] |= _nonzero(gradient)
        used = {name: each for name, each in used.items() if each.any()}
        if not used:
            raise UnsupportedModelError("no plain linear layer gives its query, key and value")
        return used

    @staticmethod
    def _output(output: Tensor, products: list[tuple[str, Tensor, Tensor]]) -> tuple[str, Mask]:
        for name, given, _ in products:
            if not given.requires_grad:
                continue
            direction = torch.ones_like(given).requires_grad_()
            (back,) = torch.autograd.grad(
                given, output, direction, create_graph=True, allow_unused=True
            )
            if back is None:
                continue
            # The derivative of J'v with respect to v, times a change of one head, gives the inputs
            # that depend on this head.
            columns = np.stack(
                [
                    _nonzero(
                        torch.autograd.grad(
                            _noise_sum(back[:, :, head]), direction, retain_graph=True
                        )[0]
                    )
                    for head in range(output.shape[2])
                ],
                axis=1,
            )
            if (columns.sum(1) == 1).all():
                return name, columns
            raise UnsupportedModelError("its heads are mixed before its output projection")
        raise UnsupportedModelError("its output projection is not a plain linear layer")


def _is_product(module: nn.Module, given: Tensor, output: object) -> bool:
    """Tell whether the output is the matrix product; subclasses may compute it otherwise."""
    if type(module) in (nn.Linear, Conv1D):
        return True
    if not (isinstance(module, nn.Linear) and isinstance(output, Tensor)):
        return False
    if not module.weight.is_floating_point():
        return False
    product = nn.functional.linear(given, module.weight, module.bias)
    return product.shape == output.shape and torch.allclose(product, output, rtol=1e-3, atol=1e-3)


def _noise_sum(tensor: Tensor) -> Tensor:
    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
    return (tensor * noise.to(tensor)).sum()


def _nonzero(gradient: Tensor) -> NDArray[np.bool_]:
    """Mark the features whose gradient is nonzero at any position, [features]."""
    return np.asarray(gradient.ne(0).flatten(0, -2).any(0).cpu())
