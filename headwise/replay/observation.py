"""Observing one forward pass: every call of a layer and of an attention module."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten
from transformers import PreTrainedModel

from headwise.replay.hooks import Attention, attend, handling
from headwise.replay.recording import Inputs


@dataclass(kw_only=True)
class LayerCall:
    """One call of a layer: the leaves of its arguments and output.

    first, stop: the sites that ran inside are first, ..., stop - 1
    """

    module: nn.Module
    given: list[Any]
    first: int
    output: list[Any] = field(default_factory=list)
    output_spec: Any = None
    stop: int = 0


@dataclass(kw_only=True)
class Observation:
    """One forward pass as it ran; tensors keep their graph where autograd was enabled.

    constants: per watched module the leaves and the structure of the outputs of all its calls
    needed: int [B] or None, see ``Recording``
    """

    logits: Tensor
    layers: list[LayerCall]
    calls: list[Attention]
    outputs: list[Tensor]
    constants: dict[nn.Module, list[tuple[list[Any], Any]]]
    needed: Tensor | None


class Observer:
    """The hooks of an observation; discovery extends them.

    layers: the modules that are layers
    constants: modules outside the layers whose outputs are kept
    last: number of calls of layers in a pass, to find the rows that the classifier reads; None if
        not wanted
    """

    def __init__(
        self, layers: Collection[nn.Module], constants: Collection[nn.Module], last: int | None
    ) -> None:
        self.modules, self.last = layers, last
        self.layers: list[LayerCall] = []
        self.calls: list[Attention] = []
        self.outputs: list[Tensor] = []
        self.constants: dict[nn.Module, list[tuple[list[Any], Any]]] = {
            module: [] for module in constants
        }
        self.final: Tensor | None = None

    def run(self, model: PreTrainedModel, inputs: Inputs) -> Observation:
        """Run the model once under the hooks."""
        wanted = torch.is_grad_enabled()
        with ExitStack() as stack:
            self.hook(stack)
            stack.enter_context(handling(self.attention))
            # The hook after the last layer enables autograd, for the classifier alone.
            stack.enter_context(torch.set_grad_enabled(wanted))
            logits: Tensor = model(**inputs).logits
            needed = None if self.final is None else _rows_read(logits, self.final)
        return Observation(
            logits=logits if wanted else logits.detach(),
            layers=self.layers,
            calls=self.calls,
            outputs=self.outputs,
            constants=self.constants,
            needed=needed,
        )

    def hook(self, stack: ExitStack) -> None:
        """Register the hooks; the stack removes them."""
        for module in self.modules:
            hook = module.register_forward_pre_hook(self.before, with_kwargs=True)
            stack.callback(hook.remove)
            stack.callback(module.register_forward_hook(self.after).remove)
        for module in self.constants:
            stack.callback(module.register_forward_hook(self.constant).remove)

    def attention(self, call: Attention) -> Tensor:
        """Compute O of a site and keep it with the call."""
        output = attend(call)
        if torch.is_grad_enabled() and not output.requires_grad:
            output.requires_grad_()
        self.calls.append(call.recorded())
        self.outputs.append(output)
        return output

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Keep the arguments of a layer."""
        given, _ = tree_flatten((args, kwargs))
        self.layers.append(LayerCall(module=module, given=given, first=len(self.calls)))
        return None

    def after(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        """Keep the output of a layer; that of the last becomes a leaf of the graph."""
        call = self.layers[-1]
        call.output, call.output_spec = tree_flatten(output)
        call.stop = len(self.calls)
        if len(self.layers) != self.last:
            return None
        if torch.is_grad_enabled():
            self.final = hidden_of(output)
            return None
        torch.set_grad_enabled(True)
        self.final = hidden_of(output).detach().requires_grad_()
        return (self.final, *output[1:]) if isinstance(output, tuple) else self.final

    def constant(self, module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        """Keep the output of a module outside the layers."""
        self.constants[module].append(tree_flatten(output))


def hidden_of(output: Any) -> Tensor:
    """Return the hidden state in the output of a layer."""
    hidden = output[0] if isinstance(output, tuple) else output
    assert isinstance(hidden, Tensor)
    return hidden


def _rows_read(logits: Tensor, hidden: Tensor) -> Tensor | None:
    """The position that the logits of each example depend on, int [B]; None if several."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(logits.shape, generator=generator).to(logits)
    (gradient,) = torch.autograd.grad(
        logits, hidden, direction, retain_graph=True, allow_unused=True
    )
    if gradient is None or gradient.dim() != 3:
        return None
    read = gradient.ne(0).any(-1)
    if not bool((read.sum(1) == 1).all()):
        return None
    return read.int().argmax(1)
