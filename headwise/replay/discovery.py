"""Finding the layers and attention modules of a model by watching it run.

Two batches of different shape show which arguments of a layer have one row per example and which
have one per position; autograd shows which of them depend on a site.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from headwise.errors import FAILURES, UnsupportedModelError
from headwise.replay.hooks import Attention, attend, handling
from headwise.replay.observation import LayerCall, Observation, Observer
from headwise.replay.recording import Inputs, Site


@dataclass(kw_only=True)
class LayerStructure:
    """One call of a layer; its arguments and output are flattened to leaves.

    first, stop: its sites are first, ..., stop - 1
    hidden: leaf of the arguments that is the hidden state
    live: leaves of the arguments that depend on a site
    batched: leaves of the arguments with one row per example
    positional: leaves of the arguments with one row per position in dimension 1
    several: leaves of the arguments with this number of rows per example, such as one per head
    output_live, output_batched: the same for the output
    chained: its output is the hidden state of the next layer
    projections: per site the linear layers that compute nothing but its query, key and value
    key, value: linear layers that compute these from the hidden state, if they exist
    """

    module: nn.Module
    first: int
    stop: int
    hidden: int
    live: frozenset[int]
    batched: frozenset[int]
    positional: frozenset[int]
    several: dict[int, int]
    output_live: frozenset[int]
    output_batched: frozenset[int]
    chained: bool = False
    projections: dict[int, list[nn.Linear]] = field(default_factory=dict)
    key: nn.Linear | None = None
    value: nn.Linear | None = None


@dataclass(kw_only=True)
class ModelStructure:
    """The layers and sites of a model, in order of evaluation.

    constants: modules outside the layers whose output depends on no site; per call the leaves of
        the output with one row per example
    one_row: the sites of the last layer influence the logits through one position alone
    """

    layers: list[LayerStructure]
    sites: tuple[Site, ...]
    constants: dict[nn.Module, list[frozenset[int]]]
    one_row: bool

    @property
    def modules(self) -> dict[nn.Module, None]:
        """The modules that are layers, each once."""
        return dict.fromkeys(layer.module for layer in self.layers)


class _StructureObserver(Observer):
    """An observer that also keeps linear layers and views of the hidden states of the layers."""

    def __init__(self, layers: dict[nn.Module, None], outside: list[nn.Module]) -> None:
        super().__init__(layers, outside, None)
        self.linears: list[tuple[nn.Linear, tuple[int, int], Tensor, Tensor]] = []
        self.views: list[Tensor] = []
        self.hidden: list[int] = []
        self.live_calls: list[Attention] = []
        self.owners: list[nn.Module] = []
        self.running: list[nn.Module] = []

    def hook(self, stack: ExitStack) -> None:
        super().hook(stack)
        for layer in self.modules:
            for module in layer.modules():
                hook = module.register_forward_pre_hook(lambda m, _: self.running.append(m))
                stack.callback(hook.remove)
                hook = module.register_forward_hook(lambda *_: (self.running.pop(), None)[1])
                stack.callback(hook.remove)
                if isinstance(module, nn.Linear):
                    stack.callback(module.register_forward_hook(self.linear).remove)

    def linear(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        assert isinstance(module, nn.Linear)
        when = (len(self.layers), len(self.calls))
        self.linears.append((module, when, args[0], output))

    def attention(self, call: Attention) -> Tensor:
        self.live_calls.append(call)
        self.owners.append(call.module or self.running[-1])
        return super().attention(call)

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        super().before(module, args, kwargs)
        given = self.layers[-1].given
        states = [i for i, leaf in enumerate(given) if _is_state(leaf)]
        if not states:
            raise UnsupportedModelError("its layers take no hidden state [batch, n, width]")
        hidden = states[0]
        before = given[hidden]
        view = before.view_as(before) if before.requires_grad else before.detach().requires_grad_()
        self.hidden.append(hidden)
        self.views.append(view)
        args = tuple(view if value is before else value for value in args)
        return args, {k: view if value is before else value for k, value in kwargs.items()}


def _is_state(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() == 3 and leaf.is_floating_point()


def discover(model: PreTrainedModel, probes: tuple[Inputs, Inputs]) -> ModelStructure:
    """Find the structure of a model whose attention goes through our interface.

    Raises UnsupportedModelError for a model without the structure that a replay needs.
    """
    layers = _layers(model, probes[0])
    inside = {module for layer in layers for module in layer.modules()}
    outside = [m for m in model.modules() if m not in inside and not _contains(m, layers)]
    one, two = _StructureObserver(layers, outside), _StructureObserver(layers, outside)
    with torch.enable_grad():
        first, second = one.run(model, probes[0]), two.run(model, probes[1])
        if [x.module for x in first.layers] != [x.module for x in second.layers]:
            raise UnsupportedModelError("its layers depend on the input")
        shapes = [probe["input_ids"].shape for probe in probes]
        found = [
            _layer_structure(one, index, call, other, shapes)
            for index, (call, other) in enumerate(zip(first.layers, second.layers, strict=True))
        ]
        for (layer, following), call, then in zip(
            pairwise(found), first.layers, first.layers[1:], strict=False
        ):
            state = then.given[following.hidden]
            layer.chained = any(call.output[i] is state for i in layer.output_live)
        sites = _sites(model, one, found)
        last = found[-1]
        shown = any(call.weights is not None for call in one.calls)
        one_row = _confined(first, last) and not shown
    _find_projections(one, found)
    constants = _constants(model, first, second, shapes)
    return ModelStructure(layers=found, sites=sites, constants=constants, one_row=one_row)


def uses_interface(model: PreTrainedModel, probe: Inputs) -> bool:
    """Tell whether the model calls the attention function that its configuration names."""
    found = False

    def handler(call: Attention) -> Tensor:
        nonlocal found
        found = True
        return attend(call)

    try:
        with torch.no_grad(), handling(handler):
            model(**probe)
    except FAILURES:
        return found
    return found


def _layers(model: PreTrainedModel, probe: Inputs) -> dict[nn.Module, None]:
    """The children of the outermost ModuleLists that contain a site."""
    parent: dict[nn.Module, nn.ModuleList] = {}
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            parent.update((child, module) for child in module)
    running: list[nn.Module] = []
    lists: dict[nn.ModuleList, None] = {}
    count = 0

    def handler(call: Attention) -> Tensor:
        nonlocal count
        if not running:
            raise UnsupportedModelError("attention is called outside a list of layers")
        if call.query.shape[2] != call.key.shape[2]:
            raise UnsupportedModelError("its attention is not from all tokens to all tokens")
        count += 1
        lists[parent[running[0]]] = None
        return attend(call)

    with ExitStack() as stack, torch.no_grad():
        for module in parent:
            hook = module.register_forward_pre_hook(lambda m, _: running.append(m))
            stack.callback(hook.remove)
            hook = module.register_forward_hook(lambda *_: (running.pop(), None)[1])
            stack.callback(hook.remove)
        stack.enter_context(handling(handler))
        model(**probe)
    if not count:
        raise UnsupportedModelError(
            "no attention is found: no softmax(QK') that is multiplied by V"
        )
    return dict.fromkeys(layer for each in lists for layer in each)


def _contains(module: nn.Module, layers: dict[nn.Module, None]) -> bool:
    return any(child in layers for child in module.modules())


def _shared_size(one: Any, two: Any, sizes: tuple[int, int], dim: int) -> bool:
    """True if a dimension has the given size in each of the two probes."""
    return (
        isinstance(one, Tensor)
        and isinstance(two, Tensor)
        and one.dim() > dim
        and (one.shape[dim], two.shape[dim]) == sizes
    )


def _live(leaves: list[Any]) -> frozenset[int]:
    return frozenset(i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad)


def _matching(one: list[Any], two: list[Any], shapes: list[torch.Size], dim: int) -> frozenset[int]:
    if len(one) != len(two):
        raise UnsupportedModelError("its layers' arguments depend on the input")
    sizes = (shapes[0][dim], shapes[1][dim])
    return frozenset(
        i for i, pair in enumerate(zip(one, two, strict=True)) if _shared_size(*pair, sizes, dim)
    )


def _several(one: list[Any], two: list[Any], shapes: list[torch.Size]) -> dict[int, int]:
    found = {}
    for index, value in enumerate(one):
        if isinstance(value, Tensor) and value.dim() > 1:
            count, rest = divmod(value.shape[0], shapes[0][0])
            sizes = (count * shapes[0][0], count * shapes[1][0])
            if count > 1 and not rest and _shared_size(value, two[index], sizes, 0):
                found[index] = count
    return found


def _layer_structure(
    observer: _StructureObserver,
    index: int,
    call: LayerCall,
    other: LayerCall,
    shapes: list[torch.Size],
) -> LayerStructure:
    layer = LayerStructure(
        module=call.module,
        first=call.first,
        stop=call.stop,
        hidden=observer.hidden[index],
        live=_live(call.given),
        batched=_matching(call.given, other.given, shapes, 0),
        positional=_matching(call.given, other.given, shapes, 1),
        several=_several(call.given, other.given, shapes),
        output_live=_live(call.output),
        output_batched=_matching(call.output, other.output, shapes, 0),
    )
    if not (layer.live <= layer.batched and layer.output_live <= layer.output_batched):
        raise UnsupportedModelError("its layers' hidden states are not [batch, n, width]")
    return layer


def _sites(
    model: PreTrainedModel, observer: _StructureObserver, layers: list[LayerStructure]
) -> tuple[Site, ...]:
    names = {module: name for name, module in model.named_modules()}
    sites: list[Site] = []
    numbers = {"encoder": -1, "decoder": -1}
    crossing = bool(getattr(model.config, "is_encoder_decoder", False))
    for layer, view in zip(layers, observer.views, strict=True):
        kinds = [
            _kind(observer.live_calls[i], view, crossing) for i in range(layer.first, layer.stop)
        ]
        stack = "encoder" if set(kinds) <= {"encoder"} else "decoder"
        numbers[stack] += 1
        for index, kind in enumerate(kinds, start=layer.first):
            call = observer.calls[index]
            sites.append(
                Site(
                    index=index,
                    layer=numbers[stack],
                    attention_type=kind,
                    heads=call.query.shape[1],
                    name=names[observer.owners[index]],
                )
            )
    return tuple(sites)


def _kind(call: Attention, hidden: Tensor, crossing: bool) -> str:
    """The type of attention: ``cross`` where V of an encoder-decoder is not from ``hidden``."""
    if crossing and not _depends(call.value, hidden):
        return "cross"
    mask = call.mask if call.weights is None else call.weights > 0
    if mask is None or mask.shape[-2] == 1:
        return "encoder"
    closed = ~mask[:1] if mask.dtype == torch.bool else mask[:1] < -1e4
    n = mask.shape[-1]
    upper = torch.ones(n, n, dtype=torch.bool, device=mask.device).triu(1)
    return "decoder" if bool(closed[..., upper].all()) else "encoder"


def _depends(tensor: Tensor, source: Tensor) -> bool:
    if not tensor.requires_grad:
        return False
    (gradient,) = torch.autograd.grad(tensor.sum(), source, retain_graph=True, allow_unused=True)
    return gradient is not None


def _confined(seen: Observation, last: LayerStructure) -> bool:
    """True if O of the last layer's sites influences the logits at one position per example."""
    sites = range(last.first, last.stop)
    if not sites:
        return False
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(seen.logits.shape, generator=generator).to(seen.logits)
    outputs = [seen.outputs[i] for i in sites]
    hidden = next(seen.layers[-1].output[i] for i in sorted(last.output_live))
    gradients = torch.autograd.grad(
        seen.logits, [hidden, *outputs], direction, retain_graph=True, allow_unused=True
    )
    rows = [None if g is None else g.flatten(2).ne(0).any(-1) for g in gradients]
    return all(r is not None and bool((r.sum(1) == 1).all()) for r in rows) and all(
        torch.equal(r, rows[0]) for r in rows[1:] if r is not None and rows[0] is not None
    )


def _find_projections(observer: _StructureObserver, layers: list[LayerStructure]) -> None:
    for number, (layer, view) in enumerate(zip(layers, observer.views, strict=True), start=1):
        for site in range(layer.first, layer.stop):
            call = observer.live_calls[site]
            within = set(observer.owners[site].modules())
            linears = [
                (linear, given, output)
                for linear, when, given, output in observer.linears
                if when == (number, site) and linear in within
            ]
            layer.projections[site] = [linear for linear, _, _ in linears]
            if site == layer.first and call.query.shape[1] == call.key.shape[1]:
                layer.key = _projection_of(call.key, view, linears)
                layer.value = _projection_of(call.value, view, linears)


def _projection_of(
    tensor: Tensor, hidden: Tensor, linears: list[tuple[nn.Linear, Tensor, Tensor]]
) -> nn.Linear | None:
    """The linear layer that computes this key or value from the hidden state of a layer."""
    for linear, given, output in linears:
        heads, width = tensor.shape[1], tensor.shape[3]
        if _same(given, hidden) and output.shape[-1] == heads * width:
            split = output.view(*hidden.shape[:2], heads, width).transpose(1, 2)
            if _same(split, tensor):
                return linear
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    """True if two tensors are equal bit for bit; NaN, from broken weights, equals NaN."""
    if one.shape != other.shape:
        return False
    return torch.equal(one, other) or torch.equal(one.nan_to_num(), other.nan_to_num())


def _constants(
    model: PreTrainedModel, one: Observation, two: Observation, shapes: list[torch.Size]
) -> dict[nn.Module, list[frozenset[int]]]:
    """The outermost modules with floating-point outputs that depend on no site."""
    found: dict[nn.Module, list[frozenset[int]]] = {}

    def search(module: nn.Module) -> None:
        calls, others = one.constants.get(module, []), two.constants.get(module, [])
        leaves = [x for call, _ in calls for x in call]
        if (
            leaves
            and len(calls) == len(others)
            and all(
                isinstance(x, Tensor) and x.is_floating_point() and not x.requires_grad
                for x in leaves
            )
        ):
            pairs = zip(calls, others, strict=True)
            found[module] = [_matching(a, b, shapes, 0) for (a, _), (b, _) in pairs]
            return
        for child in module.children():
            search(child)

    search(model)
    return found
