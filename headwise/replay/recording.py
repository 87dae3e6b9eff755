"""What a recorded forward pass holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headwise.replay.hooks import Attention

Inputs = Mapping[str, Tensor]
"""``input_ids`` and whatever else the model takes per token, each [batch, n]."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One attention module of a model; a module that runs several times is several sites.

    index: position in the model's order of evaluation, from 0
    layer: number of the layer it belongs to, from 0; encoder and decoder count separately
    kind: ``encoder`` or ``decoder`` for self-attention, the latter causal, or ``cross``
    heads: number of attention heads
    name: qualified module name
    """

    index: int
    layer: int
    kind: str
    heads: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows of a replay that start at one site.

    rows: [r], for each row the example of the tape that it belongs to
    output: [r, m, H, d], the replacement of O; m is 1 where ``Tape.rows(site)`` names the one
        query row that matters, otherwise n
    keep: [r, S, H], in place of output, which is empty then: factors of O of each head at all S
        sites, 1 before ``site``. All groups of a replay have them, or none.
    parents: [r], with keep: the row of the replay that a row continues, counted over all groups,
        which starts at an earlier site and has the same factors before this one; -1 where the
        tape is continued. None: all continue the tape.
    """

    site: int
    rows: Tensor
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    keep: Tensor | None = None
    parents: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One call of a layer: the leaves of its arguments and of its output, as recorded."""

    given: list[Any]
    output: list[Any]
    output_spec: Any


@dataclass(frozen=True, kw_only=True)
class Tape:
    """One recorded forward pass over a batch.

    logits [B, C]; calls, per site, with query, key, value [B, H, n, d]; output, per site, O
    [B, n, H, d]; entries, per layer; constants, the shapes of what does not depend on any site
    needed: [B], the one position of each example whose last hidden state the classifier reads;
        None if it reads more than one, or if that cannot be used
    last: index of the first site of the last layer; from it on, only ``needed`` matters
    """

    logits: Tensor
    inputs: Inputs
    calls: list[Attention]
    output: list[Tensor]
    entries: list[Entry]
    constants: dict[Any, list[Any]]
    needed: Tensor | None
    last: int

    @property
    def value(self) -> list[Tensor]:
        """V of every site, [B, H, n, d]."""
        return [call.value for call in self.calls]

    @property
    def length(self) -> int:
        """Positions per example, n."""
        return self.output[-1].shape[1]

    def rows(self, site: int) -> Tensor | None:
        """[B], the one query row of a site that can influence the logits; None: all may."""
        return self.needed if site >= self.last else None

    def relevant(self, site: int, tensor: Tensor) -> Tensor:
        """Of a tensor [B, n, ...] over the queries of a site those that matter, [B, m, ...]."""
        rows = self.rows(site)
        if rows is None:
            return tensor
        return tensor[torch.arange(len(rows), device=rows.device), rows][:, None]

    def placed(self, site: int, cells: Tensor) -> Tensor:
        """Cells [B, H, m, n] of the rows that matter among zeros, [B, H, n, n]."""
        rows = self.rows(site)
        if rows is None:
            return cells
        batch, heads, _, n = cells.shape
        full = cells.new_zeros(batch, heads, n, n)
        index = rows[:, None, None, None].expand(batch, heads, 1, n)
        return full.scatter_(2, index, cells)

    def attention(self, site: int) -> Tensor:
        """Attention probabilities of a site, [B, H, n, n]."""
        return self.calls[site].probabilities()
