"""Forward passes: a recorded one, and partial ones that continue it from any sites.

In a partial pass, rows are sorted by the site at which they start, so the rows that have started
are always a prefix of the batch, and a layer runs on this prefix alone. A row continues the
recording or, where several rows share what comes before, an earlier row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from transformers import PreTrainedModel

from headwise.errors import UnsupportedModelError
from headwise.replay.discovery import LayerStructure, ModelStructure
from headwise.replay.hooks import (
    Attention,
    LeadingRows,
    attend,
    forward_replaced,
    handling,
    leading_projection,
    without_masks,
)
from headwise.replay.observation import Observer
from headwise.replay.recording import Inputs, RecordedLayer, Recording, RowGroup

Forward = Callable[..., Any]
"""The forward method of a module."""


class LastLayer(Enum):
    """The way in which a partial pass computes the last layer.

    EVERY_ROW: all positions
    ONE_QUERY: the position that the classifier reads, with the keys and values of all positions
    ONE_ROW: the same without projecting keys and values of the other positions
    """

    EVERY_ROW = auto()
    ONE_QUERY = auto()
    ONE_ROW = auto()


@dataclass(frozen=True, kw_only=True)
class Shortcuts:
    """Work that partial passes leave out; a model uses those with which its self-check passes.

    skip: projections that only feed a replaced site
    stub: modules outside the layers that depend on no site
    chain: between consecutive layers, rows that have not started
    last_layer: positions of the last layer
    """

    skip: bool = False
    stub: bool = False
    chain: bool = False
    last_layer: LastLayer = LastLayer.EVERY_ROW


def record(
    model: PreTrainedModel, structure: ModelStructure, shortcuts: Shortcuts, inputs: Inputs
) -> Recording:
    """Run a model once; autograd, where enabled, starts at O of the first site."""
    layers = structure.layers
    one_row = shortcuts.last_layer is not LastLayer.EVERY_ROW
    observer = Observer(structure.modules, structure.constants, len(layers) if one_row else None)
    seen = observer.run(model, inputs)
    if [call.module for call in seen.layers] != [layer.module for layer in layers]:
        raise UnsupportedModelError("its layers depend on the input")
    n = inputs["input_ids"].shape[1]
    shapes = [(call.query.shape[2], call.key.shape[2]) for call in seen.calls]
    if shapes != [(n, n)] * len(structure.sites):
        raise UnsupportedModelError("its attention is not from all tokens to all tokens")
    return Recording(
        logits=seen.logits,
        inputs=inputs,
        calls=seen.calls,
        output=seen.outputs,
        layers=[
            RecordedLayer(
                given=[_detached(leaf) for leaf in call.given],
                output=[_detached(leaf) for leaf in call.output],
                output_spec=call.output_spec,
            )
            for call in seen.layers
        ],
        constants={
            module: [([(x.shape, x.dtype) for x in leaves], spec) for leaves, spec in calls]
            for module, calls in seen.constants.items()
        },
        needed=seen.needed,
        last_layer=layers[-1].first,
    )


def partial_logits(
    model: PreTrainedModel,
    structure: ModelStructure,
    shortcuts: Shortcuts,
    recording: Recording,
    groups: Sequence[RowGroup],
) -> Tensor:
    """Return the logits [R, C] of all rows of the groups, in their order.

    groups: in ascending order of site, each site at most once
    """
    partial = PartialPass(structure, shortcuts, recording, groups)
    inputs = {name: partial.pick(tensor) for name, tensor in recording.inputs.items()}
    with forward_replaced(partial.replacements()), without_masks():
        logits: Tensor = model(**inputs).logits
    return logits


class _CapturedError(Exception):
    """Carries a call of attention out of the layer that makes it."""

    def __init__(self, call: Attention) -> None:
        super().__init__()
        self.call = call


class PartialPass:
    """The state of one partial forward pass."""

    def __init__(
        self,
        structure: ModelStructure,
        shortcuts: Shortcuts,
        recording: Recording,
        groups: Sequence[RowGroup],
    ) -> None:
        self.structure, self.shortcuts, self.recording = structure, shortcuts, recording
        self.groups = {group.site: group for group in groups}
        self.rows = torch.cat([group.rows for group in groups])
        self.batch = len(recording.logits)
        keeps = [group.keep for group in groups if group.keep is not None]
        self.keep = torch.cat(keeps) if keeps else None
        self._parents = _parents(groups)
        self._picked: dict[int, Tensor] = {}
        self._started: list[int] = [0]
        for site in range(len(structure.sites)):
            group = self.groups.get(site)
            self._started.append(self._started[-1] + (0 if group is None else len(group.rows)))

    def started(self, site: int) -> int:
        """Return the number of rows that start before a site."""
        return self._started[site]

    def pick(self, value: Tensor) -> Tensor:
        """Return a recorded tensor [B, ...] for the rows of this pass, computed once."""
        if self.batch == 1 and value.dim() > 3:  # masks; models may need hidden states dense
            return value.expand(len(self.rows), *value.shape[1:])
        if id(value) not in self._picked:
            self._picked[id(value)] = value.index_select(0, self.rows)
        return self._picked[id(value)]

    def _pick_several(self, value: Tensor, count: int) -> Tensor:
        """A recorded tensor [B * count, ...] for the rows of this pass, [R, count, ...]."""
        if id(value) not in self._picked:
            split = value.view(self.batch, count, *value.shape[1:])
            self._picked[id(value)] = split.index_select(0, self.rows)
        return self._picked[id(value)]

    def replacements(self) -> dict[nn.Module, Forward]:
        """Return the forward methods that turn the model's forward pass into this one."""
        count = 0

        def layer(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            return self._layer(count - 1, originals, args, kwargs)

        modules = self.structure.modules
        originals = {module: module.forward for module in modules}
        replaced: dict[nn.Module, Forward] = dict.fromkeys(modules, layer)
        if self.shortcuts.stub:
            for module, batched in self.structure.constants.items():
                replaced[module] = self._stub(module, batched)
        return replaced

    def _stub(self, module: nn.Module, batched: list[frozenset[int]]) -> Forward:
        """Give NaN in the shape of the module's output, so that no use of it goes unnoticed."""
        shapes = iter(zip(self.recording.constants[module], batched, strict=True))

        def forward(*_: Any, **__: Any) -> Any:
            (leaves, spec), with_rows = next(shapes)
            given = [
                self.rows.new_full((), float("nan"), dtype=dtype).expand(
                    len(self.rows) if index in with_rows else shape[0], *shape[1:]
                )
                for index, (shape, dtype) in enumerate(leaves)
            ]
            return tree_unflatten(given, spec)

        return forward

    # ------------------------------------------------------------------- layers

    def _layer(
        self,
        index: int,
        originals: dict[nn.Module, Forward],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        layer = self.structure.layers[index]
        active, old = self.started(layer.stop), self.started(layer.first)
        if not active:
            return self._output(index, None, 0)
        leaves, spec = tree_flatten((args, kwargs))
        leaves = self._arguments(index, leaves, old, active)
        original = originals[layer.module]

        def run(given: list[Any]) -> Any:
            arguments, options = tree_unflatten(given, spec)
            return original(*arguments, **options)

        if self._one_row(index):
            return self._output(index, self._run_one_row(layer, leaves, old, run), active)
        with handling(self._handler(layer, attend)), forward_replaced(self._projections(layer)):
            return self._output(index, run(leaves), active)

    def _one_row(self, index: int) -> bool:
        return self.recording.needed is not None and index == len(self.structure.layers) - 1

    def _arguments(self, index: int, leaves: list[Any], old: int, active: int) -> list[Any]:
        """The arguments of a layer for the rows that have started at its end."""
        layer, recorded = self.structure.layers[index], self.recording.layers[index].given
        given: list[Any] = []
        for position, value in enumerate(recorded):
            if position in layer.several and isinstance(value, Tensor):
                given.append(
                    self._pick_several(value, layer.several[position])[:active].flatten(0, 1)
                )
                continue
            if position not in layer.batched or not isinstance(value, Tensor):
                given.append(value)
                continue
            live = leaves[position] if position in layer.live else None
            if live is None or not old:
                given.append(self.pick(value)[:active])
            elif len(live) >= active:
                given.append(live[:active])
            else:
                given.append(self._continued(live, value, active))
        return given

    def _continued(self, live: Tensor, recorded: Tensor, count: int) -> Tensor:
        """The live rows, then up to ``count`` the rows that continue one or the recording."""
        start = len(live)
        new = recorded.index_select(0, self.rows[start:count])
        sources = [self._ancestor(row, start) for row in range(start, count)]
        if any(source >= 0 for source in sources):
            source = self.rows.new_tensor(sources)
            forked = (source >= 0).nonzero().squeeze(1)
            new = new.index_copy(0, forked, live.index_select(0, source[forked]).to(new.dtype))
        return torch.cat([live, new])

    def _ancestor(self, row: int, before: int) -> int:
        """The row below ``before`` that a row continues, or -1 for the recording."""
        while row >= before:
            row = self._parents[row] if self._parents else -1
        return row

    def _output(self, index: int, output: Any, active: int) -> Any:
        """The output of a layer: computed for the active rows, recorded for the others."""
        layer, recorded = self.structure.layers[index], self.recording.layers[index]
        chained = self.shortcuts.chain and layer.chained
        if active == len(self.rows) or (chained and active):
            return output
        if chained:
            leaves = [self._empty(index)] * len(recorded.output)
            return tree_unflatten(leaves, recorded.output_spec)
        computed = None if output is None else tree_flatten(output)[0]
        leaves = list(recorded.output)
        for position in layer.output_batched:
            if not isinstance(leaves[position], Tensor):
                continue
            if computed is not None and position in layer.output_live:
                every = self._continued(computed[position], leaves[position], len(self.rows))
            else:
                every = self.pick(leaves[position])
            leaves[position] = every
        return tree_unflatten(leaves, recorded.output_spec)

    def _empty(self, index: int) -> Tensor:
        state: Tensor = self.recording.layers[index].given[self.structure.layers[index].hidden]
        return state[:0]

    def _projections(self, layer: LayerStructure) -> dict[nn.Module, Forward]:
        """Query, key and value projections, for the rows alone that started before their site."""
        if not self.shortcuts.skip:
            return {}
        active = self.started(layer.stop)
        first = LeadingRows(active)
        return {
            linear: leading_projection(linear, self.started(site), first)
            for site in range(layer.first, layer.stop)
            if self.started(site) < active
            for linear in layer.projections[site]
        }

    def _handler(
        self, layer: LayerStructure, compute: Callable[[Attention], Tensor]
    ) -> Callable[[Attention], Tensor]:
        """Attention in a layer: computed for rows of earlier sites, given for the others."""
        sites = iter(range(layer.first, layer.stop))
        active = self.started(layer.stop)

        def handler(call: Attention) -> Tensor:
            site = next(sites)
            old, here = self.started(site), self.started(site + 1)
            parts = [compute(call.head(old))] if old else []
            recorded = self.recording.relevant(site, self.recording.output[site].detach())
            if self.keep is not None:
                live = parts[0] if old else recorded[:0]
                whole = self._continued(live, recorded, active) if active > old else live
                factors = self.keep[:active, site, : whole.shape[2]]
                return whole * factors[:, None, :, None].to(whole.dtype)
            if here > old:
                parts.append(self.groups[site].output)
            if active > here:
                parts.append(recorded.index_select(0, self.rows[here:active]))
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        return handler

    # ------------------------------------------------------------- the last layer

    def _run_one_row(
        self, layer: LayerStructure, leaves: list[Any], old: int, run: Callable[[list[Any]], Any]
    ) -> Any:
        """Run the last layer for the position of each example that the classifier reads."""
        assert self.recording.needed is not None
        needed = self.recording.needed.index_select(0, self.rows)
        n = leaves[layer.hidden].shape[1]
        compute = self._row_attention(layer, leaves, old, run, needed)
        given = list(leaves)
        for position in sorted(layer.positional | {layer.hidden}):
            value = leaves[position]
            if position == layer.hidden or (
                position not in layer.live and isinstance(value, Tensor) and value.dim() <= 3
            ):
                given[position] = _rows_at(value, needed)
        with handling(self._handler(layer, compute)), forward_replaced(self._projections(layer)):
            output = run(given)
        found, spec = tree_flatten(output)
        for position in layer.output_live:
            found[position] = found[position].expand(-1, n, *found[position].shape[2:])
        return tree_unflatten(found, spec)

    def _row_attention(
        self,
        layer: LayerStructure,
        leaves: list[Any],
        old: int,
        run: Callable[[list[Any]], Any],
        needed: Tensor,
    ) -> Callable[[Attention], Tensor]:
        """Attention of one query per row; keys of the first site need all positions."""
        hidden: Tensor = leaves[layer.hidden]
        n = hidden.shape[1]
        if not old:
            return lambda call: attend(call.at(needed[: len(call.query)]))
        if self.shortcuts.last_layer is LastLayer.ONE_ROW:
            return lambda call: _attend_unprojected(
                layer, hidden[: len(call.query)], call.at(needed[: len(call.query)])
            )
        given = [
            x[:old] if i in layer.batched and isinstance(x, Tensor) else x
            for i, x in enumerate(leaves)
        ]
        full = _capture(lambda: run(given))

        def compute(call: Attention) -> Tensor:
            rows = needed[: len(call.query)]
            if call.key.shape[2] == n:
                return attend(call.at(rows))  # from an encoder, with the keys of all positions
            return attend(replace(full, query=call.query).at(rows))

        return compute


def _parents(groups: Sequence[RowGroup]) -> list[int]:
    """The row that each row of all groups continues, or -1; empty if all continue the recording."""
    if all(group.parents is None for group in groups):
        return []
    parents: list[int] = []
    for group in groups:
        given = group.parents
        parents += [-1] * len(group.rows) if given is None else given.tolist()
    return parents


def _capture(run: Callable[[], Any]) -> Attention:
    """Return the first call of attention that ``run`` makes, and end it there."""

    def handler(call: Attention) -> Tensor:
        raise _CapturedError(call)

    try:
        with handling(handler):
            run()
    except _CapturedError as captured:
        return captured.call
    raise RuntimeError("the last layer did not call its attention")


def _rows_at(value: Tensor, position: Tensor) -> Tensor:
    """Select one position per row: [R or 1, n, ...] -> [R, 1, ...]."""
    value = value.expand(len(position), *value.shape[1:])
    return value[torch.arange(len(position), device=value.device), position][:, None]


def _attend_unprojected(layer: LayerStructure, hidden: Tensor, call: Attention) -> Tensor:
    """Attention of one query over all positions of a layer's input, without projecting these.

    For one query q, q (W h_j) = (q W) h_j, and the mean of W h_j is W times the mean of h_j. The
    bias of the key adds the same to all scores, so it drops out of the softmax.
    """
    assert layer.key is not None
    assert layer.value is not None
    heads, width = call.query.shape[1], call.query.shape[3]
    key_weight = layer.key.weight.view(heads, width, -1)
    value_weight = layer.value.weight.view(heads, width, -1)
    query = call.query.squeeze(2).transpose(0, 1) * call.scale  # [H, R, d]
    scores = (query @ key_weight).transpose(0, 1) @ hidden.transpose(1, 2)  # [R, H, n]
    if call.mask is not None and call.mask.dtype == torch.bool:
        scores = scores.masked_fill(~call.mask[:, :, 0], float("-inf"))
    elif call.mask is not None:
        scores = scores + call.mask[:, :, 0]
    mean = (scores.softmax(-1) @ hidden).transpose(0, 1)  # [H, R, D]
    output = (mean @ value_weight.transpose(1, 2)).transpose(0, 1)
    if layer.value.bias is not None:
        output = output + layer.value.bias.view(heads, width)
    return output[:, None]


def _detached(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf
