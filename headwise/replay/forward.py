"""One replay: the rows of several sites on their way through the blocks.

The rows are sorted by site, so those that have started are always a prefix of the batch, and a
block runs on that prefix alone. A row continues the tape or, where several rows share what comes
before, an earlier row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from headwise.replay.discovery import Block, Plan
from headwise.replay.hooks import (
    Attention,
    LeadingRows,
    attend,
    forward_replaced,
    handling,
    leading_projection,
)
from headwise.replay.tape import Group, Tape


@dataclass(frozen=True, kw_only=True)
class Features:
    """Short cuts of a replay; a model uses those with which the self-check passes.

    skip: leave out projections that only feed a replaced site
    stub: leave out modules outside the layers that depend on no site
    chain: between neighbouring blocks, hand over only the rows that have started
    one_row: in the last block compute the one needed row; ``projected`` without the keys and
        values of the others, ``captured`` with them, or empty
    """

    skip: bool = False
    stub: bool = False
    chain: bool = False
    one_row: str = ""


class _CapturedError(Exception):
    """Carries a block's attention call out of the block."""

    def __init__(self, call: Attention) -> None:
        super().__init__()
        self.call = call


class Pass:
    """The state of one replay."""

    def __init__(self, plan: Plan, features: Features, tape: Tape, groups: Sequence[Group]) -> None:
        self.plan, self.features, self.tape = plan, features, tape
        self.groups = {group.site: group for group in groups}
        self.rows = torch.cat([group.rows for group in groups])
        self.batch = len(tape.logits)
        keeps = [group.keep for group in groups if group.keep is not None]
        self.keep = torch.cat(keeps) if keeps else None
        self._parents = _parents(groups)
        self._selected: dict[int, Tensor] = {}
        self._started: list[int] = [0]
        for site in range(len(plan.sites)):
            group = self.groups.get(site)
            self._started.append(self._started[-1] + (0 if group is None else len(group.rows)))

    def started(self, site: int) -> int:
        """Number of rows that start before a site."""
        return self._started[site]

    def pick(self, value: Tensor) -> Tensor:
        """The rows of this pass of a recorded tensor [B, ...], each tensor once."""
        if self.batch == 1 and value.dim() > 3:  # masks; models may need hidden states dense
            return value.expand(len(self.rows), *value.shape[1:])
        if id(value) not in self._selected:
            self._selected[id(value)] = value.index_select(0, self.rows)
        return self._selected[id(value)]

    def _pick_several(self, value: Tensor, count: int) -> Tensor:
        """The rows of this pass of a recorded tensor [B * count, ...], [R, count, ...]."""
        if id(value) not in self._selected:
            split = value.view(self.batch, count, *value.shape[1:])
            self._selected[id(value)] = split.index_select(0, self.rows)
        return self._selected[id(value)]

    def replacements(self) -> dict[nn.Module, Callable[..., Any]]:
        """The forward methods that make the model's own forward this replay."""
        count = 0

        def block(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            return self._block(count - 1, originals, args, kwargs)

        modules = self.plan.modules
        originals = {module: module.forward for module in modules}
        replaced: dict[nn.Module, Callable[..., Any]] = dict.fromkeys(modules, block)
        if self.features.stub:
            for module, batched in self.plan.constants.items():
                replaced[module] = self._stub(module, batched)
        return replaced

    def _stub(self, module: nn.Module, batched: list[frozenset[int]]) -> Callable[..., Any]:
        """Not-a-number in the shape of the module's output, so that no use goes unnoticed."""
        shapes = iter(zip(self.tape.constants[module], batched, strict=True))

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

    # ------------------------------------------------------------------- blocks

    def _block(
        self,
        index: int,
        originals: dict[nn.Module, Callable[..., Any]],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        block = self.plan.blocks[index]
        active, old = self.started(block.stop), self.started(block.first)
        if not active:
            return self._output(index, None, 0)
        leaves, spec = tree_flatten((args, kwargs))
        leaves = self._arguments(index, leaves, old, active)
        original = originals[block.module]

        def run(given: list[Any]) -> Any:
            arguments, options = tree_unflatten(given, spec)
            return original(*arguments, **options)

        if self._one_row(index):
            return self._output(index, self._run_one_row(block, leaves, old, run), active)
        with handling(self._handler(block, attend)), forward_replaced(self._projections(block)):
            return self._output(index, run(leaves), active)

    def _one_row(self, index: int) -> bool:
        return self.tape.needed is not None and index == len(self.plan.blocks) - 1

    def _arguments(self, index: int, leaves: list[Any], old: int, active: int) -> list[Any]:
        """A block's arguments for the rows that have started at its end."""
        block, recorded = self.plan.blocks[index], self.tape.entries[index].given
        given: list[Any] = []
        for position, value in enumerate(recorded):
            if position in block.several and isinstance(value, Tensor):
                given.append(
                    self._pick_several(value, block.several[position])[:active].flatten(0, 1)
                )
                continue
            if position not in block.batched or not isinstance(value, Tensor):
                given.append(value)
                continue
            live = leaves[position] if position in block.live else None
            if live is None or not old:
                given.append(self.pick(value)[:active])
            elif len(live) >= active:
                given.append(live[:active])
            else:
                given.append(self._continued(live, value, active))
        return given

    def _continued(self, live: Tensor, recorded: Tensor, count: int) -> Tensor:
        """The live rows, and behind them, up to ``count``, those that continue one or the tape."""
        start = len(live)
        new = recorded.index_select(0, self.rows[start:count])
        sources = [self._ancestor(row, start) for row in range(start, count)]
        if any(source >= 0 for source in sources):
            source = self.rows.new_tensor(sources)
            forked = (source >= 0).nonzero().squeeze(1)
            new = new.index_copy(0, forked, live.index_select(0, source[forked]).to(new.dtype))
        return torch.cat([live, new])

    def _ancestor(self, row: int, before: int) -> int:
        """The row before ``before`` that a row continues, or -1 for the tape."""
        while row >= before:
            row = self._parents[row] if self._parents else -1
        return row

    def _output(self, index: int, output: Any, active: int) -> Any:
        """What a block returns: its output for the active rows, the recorded for the others."""
        block, entry = self.plan.blocks[index], self.tape.entries[index]
        chained = self.features.chain and block.chained
        if active == len(self.rows) or (chained and active):
            return output
        if chained:
            leaves = [self._empty(index)] * len(entry.output)
            return tree_unflatten(leaves, entry.output_spec)
        computed = None if output is None else tree_flatten(output)[0]
        leaves = list(entry.output)
        for position in block.output_batched:
            if not isinstance(leaves[position], Tensor):
                continue
            if computed is not None and position in block.output_live:
                every = self._continued(computed[position], leaves[position], len(self.rows))
            else:
                every = self.pick(leaves[position])
            leaves[position] = every
        return tree_unflatten(leaves, entry.output_spec)

    def _empty(self, index: int) -> Tensor:
        state: Tensor = self.tape.entries[index].given[self.plan.blocks[index].hidden]
        return state[:0]

    def _projections(self, block: Block) -> dict[nn.Module, Callable[..., Any]]:
        """Query, key and value of a site for the rows alone that started before it."""
        if not self.features.skip:
            return {}
        active = self.started(block.stop)
        first = LeadingRows(active)
        return {
            linear: leading_projection(linear, self.started(site), first)
            for site in range(block.first, block.stop)
            if self.started(site) < active
            for linear in block.projections[site]
        }

    def _handler(
        self, block: Block, compute: Callable[[Attention], Tensor]
    ) -> Callable[[Attention], Tensor]:
        """Attention inside a block: rows of earlier sites compute it, the others have it given."""
        sites = iter(range(block.first, block.stop))
        active = self.started(block.stop)

        def handler(call: Attention) -> Tensor:
            site = next(sites)
            old, here = self.started(site), self.started(site + 1)
            parts = [compute(call.head(old))] if old else []
            recorded = self.tape.relevant(site, self.tape.output[site].detach())
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

    # ------------------------------------------------------------- the last block

    def _run_one_row(
        self, block: Block, leaves: list[Any], old: int, run: Callable[[list[Any]], Any]
    ) -> Any:
        """The last block for the one row of each example that the classifier reads."""
        assert self.tape.needed is not None
        needed = self.tape.needed.index_select(0, self.rows)
        hidden: Tensor = leaves[block.hidden]
        n = hidden.shape[1]
        compute = self._row_attention(block, hidden, leaves, old, run, needed)
        given = list(leaves)
        for position in sorted(block.positional | {block.hidden}):
            value = leaves[position]
            if position == block.hidden or (
                position not in block.live and isinstance(value, Tensor) and value.dim() <= 3
            ):
                given[position] = _rows_at(value, needed)
        with handling(self._handler(block, compute)), forward_replaced(self._projections(block)):
            output = run(given)
        found, spec = tree_flatten(output)
        for position in block.output_live:
            found[position] = found[position].expand(-1, n, *found[position].shape[2:])
        return tree_unflatten(found, spec)

    def _row_attention(
        self,
        block: Block,
        hidden: Tensor,
        leaves: list[Any],
        old: int,
        run: Callable[[list[Any]], Any],
        needed: Tensor,
    ) -> Callable[[Attention], Tensor]:
        """Attention of one query per row; the first site's keys need all rows of the block."""
        n = hidden.shape[1]
        if not old:
            return lambda call: attend(call.at(needed[: len(call.query)]))
        if self.features.one_row == "projected":
            return lambda call: _project(
                block, hidden[: len(call.query)], call.at(needed[: len(call.query)])
            )
        given = [
            x[:old] if i in block.batched and isinstance(x, Tensor) else x
            for i, x in enumerate(leaves)
        ]
        full = _capture(lambda: run(given))

        def compute(call: Attention) -> Tensor:
            rows = needed[: len(call.query)]
            if call.key.shape[2] == n:
                return attend(call.at(rows))  # from an encoder: all keys are there
            return attend(replace(full, query=call.query).at(rows))

        return compute


def _parents(groups: Sequence[Group]) -> list[int]:
    """Per row of all groups the row that it continues, or -1; empty if all continue the tape."""
    if all(group.parents is None for group in groups):
        return []
    parents: list[int] = []
    for group in groups:
        given = group.parents
        parents += [-1] * len(group.rows) if given is None else given.tolist()
    return parents


def _capture(run: Callable[[], Any]) -> Attention:
    """The first attention call of what runs; it is left there."""

    def handler(call: Attention) -> Tensor:
        raise _CapturedError(call)

    try:
        with handling(handler):
            run()
    except _CapturedError as captured:
        return captured.call
    raise RuntimeError("the last layer did not call its attention")


def _rows_at(value: Tensor, position: Tensor) -> Tensor:
    """[R or 1, n, ...] at one position per row, [R, 1, ...]."""
    value = value.expand(len(position), *value.shape[1:])
    return value[torch.arange(len(position), device=value.device), position][:, None]


def _project(block: Block, hidden: Tensor, call: Attention) -> Tensor:
    """Attention of one query over all rows of a block's input, without their projections.

    With one query, q (W h_j) = (q W) h_j, and the mean of W h_j is W times the mean of h_j. The
    key's bias adds the same to all scores, so it drops out of the softmax.
    """
    assert block.key is not None
    assert block.value is not None
    heads, width = call.query.shape[1], call.query.shape[3]
    key_weight = block.key.weight.view(heads, width, -1)
    value_weight = block.value.weight.view(heads, width, -1)
    query = call.query.squeeze(2).transpose(0, 1) * call.scale  # [H, R, d]
    scores = (query @ key_weight).transpose(0, 1) @ hidden.transpose(1, 2)  # [R, H, n]
    if call.mask is not None and call.mask.dtype == torch.bool:
        scores = scores.masked_fill(~call.mask[:, :, 0], float("-inf"))
    elif call.mask is not None:
        scores = scores + call.mask[:, :, 0]
    mean = (scores.softmax(-1) @ hidden).transpose(0, 1)  # [H, R, D]
    output = (mean @ value_weight.transpose(1, 2)).transpose(0, 1)
    if block.value.bias is not None:
        output = output + block.value.bias.view(heads, width)
    return output[:, None]
