"""The parts of a model that attribution speaks of, and a recorded forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from headwise.replay.hooks import Attention

Inputs = Mapping[str, Tensor]
"""``input_ids`` and the other inputs that a model takes per token, each [batch, n]."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One attention module of a model; a module that runs several times is several sites.

    index: position in the model's order of evaluation, from 0
    layer: number of its layer, from 0; encoder and decoder count separately
    attention_type: ``encoder`` or ``decoder`` for self-attention, the latter causal, or ``cross``
    heads: number of attention heads
    name: qualified module name
    """

    index: int
    layer: int
    attention_type: str
    heads: int
    name: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Site:
        """Make a site from its fields; files of version 0.1 have ``kind`` for its type."""
        return cls(**{"attention_type" if n == "kind" else n: v for n, v in values.items()})


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """The rows of a replay that start at one site.

    rows: int [r], the example of the recording that each row belongs to
    output: [r, m, H, d], replaces O; m is 1 where ``Recording.needed_rows`` names the one query
        row that matters, otherwise n
    keep: [r, S, H], in place of ``output``, which is then empty: factors of O of each head at
        all S sites, 1 before ``site``. Either all groups of a replay have it or none.
    parents: int [r], with ``keep``: the row of the replay, counted over all groups, that a row
        continues, which starts at an earlier site and has the same factors before this one; -1
        where a row continues the recording. None: all rows continue the recording.
    """

    site: int
    rows: Tensor
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    keep: Tensor | None = None
    parents: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedLayer:
    """One call of a layer: the leaves of its arguments and of its output."""

    given: list[Any]
    output: list[Any]
    output_spec: Any


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One forward pass over a batch of B examples, padded to n tokens.

    logits: [B, C]
    calls: per site, with query, key and value [B, H, n, d]
    output: per site O, [B, n, H, d]
    layers: every call of a layer
    constants: shapes of the outputs of modules that depend on no site
    needed: int [B], the only position whose last hidden state the classifier reads; None if it
        reads several, or if this cannot be used
    last_layer: index of the first site of the last layer; from there on only ``needed`` matters
    """

    logits: Tensor
    inputs: Inputs
    calls: list[Attention]
    output: list[Tensor]
    layers: list[RecordedLayer]
    constants: dict[Any, list[Any]]
    needed: Tensor | None
    last_layer: int

    @property
    def value(self) -> list[Tensor]:
        """V of every site, [B, H, n, d]."""
        return [call.value for call in self.calls]

    @property
    def length(self) -> int:
        """Positions per example, n."""
        return self.output[-1].shape[1]

    def needed_rows(self, site: int) -> Tensor | None:
        """Return the only query row of a site that influences the logits, int [B], or None."""
        return self.needed if site >= self.last_layer else None

    def relevant(self, site: int, tensor: Tensor) -> Tensor:
        """Select the query rows of a site that matter: [B, n, ...] -> [B, m, ...]."""
        rows = self.needed_rows(site)
        if rows is None:
            return tensor
        return tensor[torch.arange(len(rows), device=rows.device), rows][:, None]

    def placed(self, site: int, cells: Tensor) -> Tensor:
        """Put the query rows that matter among zeros: [B, H, m, n] -> [B, H, n, n]."""
        rows = self.needed_rows(site)
        if rows is None:
            return cells
        batch, heads, _, n = cells.shape
        full = cells.new_zeros(batch, heads, n, n)
        index = rows[:, None, None, None].expand(batch, heads, 1, n)
        return full.scatter_(2, index, cells)

    def attention(self, site: int) -> Tensor:
        """Return the attention probabilities of a site, [B, H, n, n]."""
        return self.calls[site].probabilities()
