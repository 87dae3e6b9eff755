"""The cost of one attribution, in plain forward passes and against the necessary arithmetic.

The floor is the time that the machine's matrix product takes for the necessary arithmetic. That
counts linear layers and real tokens only:

- once per example, all layers, forward and backward: recording the attention, and the gradient
  at a = 1, which all attention modules share;
- per example, module and further point, forward and backward: the module's own layer without
  query, key and value, and all layers behind it; of the last layer the one row that the
  classifier reads.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import headwise
from benchmarks.measure import synchronize, timed
from headwise.attribution.batches import batches
from headwise.attribution.cpu_parallel import parallel_batches
from headwise.attribution.evaluator import TokenBudget
from headwise.encoding import encode, pad
from headwise.precision import arithmetic, autocast

_BERT_LIKE = ("bert", "roberta", "xlm-roberta", "camembert")
_REPEATS, _CALLS = 2, 3


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A chain of BERT's layers: L layers, D wide, F inside."""

    layers: int
    width: int
    inner: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> Shape:
        """Raises ValueError for a model whose layers are not BERT's."""
        config = model.config
        if config.model_type not in _BERT_LIKE:
            raise ValueError(
                f"the needed arithmetic of model type {config.model_type!r} is not known; "
                f"use one of {', '.join(_BERT_LIKE)}"
            )
        return cls(
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            inner=config.intermediate_size,
        )

    @property
    def projections(self) -> int:
        """FLOPs of query, key and value for one token."""
        return 2 * 3 * self.width**2

    @property
    def rest(self) -> int:
        """FLOPs of the other linear layers of a layer for one token."""
        return 2 * (self.width**2 + 2 * self.width * self.inner)

    @property
    def layer(self) -> int:
        """FLOPs of one layer's linear layers for one token."""
        return self.projections + self.rest


def forward_flops(shape: Shape, lengths: NDArray[np.int64]) -> int:
    """FLOPs of a plain forward pass over examples of the given lengths in tokens."""
    return int(lengths.sum()) * shape.layers * shape.layer


def point_flops(shape: Shape, n: int, site: int) -> int:
    """FLOPs, forward and backward, of one point of one attention module for n tokens."""
    behind = shape.layers - 1 - site
    if not behind:
        return 2 * shape.rest
    return 2 * (n * shape.rest + (behind - 1) * n * shape.layer + shape.layer)


def needed_flops(shape: Shape, lengths: NDArray[Any], points: NDArray[Any]) -> int:
    """FLOPs necessary for attributing examples, as defined above.

    lengths: tokens, [E]; points: evaluated per example and module, a = 1 included, [E, L]
    """
    total = 2 * forward_flops(shape, lengths)
    for n, row in zip(lengths.tolist(), points.tolist(), strict=True):
        total += sum((p - 1) * point_flops(shape, n, site) for site, p in enumerate(row))
    return total


@dataclass(kw_only=True)
class PlainForward:
    """A forward pass of all texts, in the engine's batches; tokenizing is not timed.

    seconds: per example, the best so far; flops: per example
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    texts: Sequence[headwise.Text]
    max_length: int
    precision: str
    seconds: float = float("inf")
    lengths: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        device = self.model.device
        encoded = encode(self.model, self.tokenizer, self.texts, self.max_length)
        pad_id = int(self.tokenizer.pad_token_id)
        self.lengths = np.array([len(example.ids) for example in encoded])
        self._batches = [
            pad([encoded[i] for i in batch], pad_id, device)
            for batch in batches(encoded, TokenBudget.default(device), parallel_batches(device))
        ]

    def measure(self) -> None:
        device = self.model.device
        with (
            torch.no_grad(),
            arithmetic(device, self.precision, False),
            autocast(self.precision, device),
        ):
            _, seconds = timed(device, self._run)
        self.seconds = min(self.seconds, seconds / len(self.texts))

    def _run(self) -> None:
        for batch in self._batches:
            self.model(**batch)


def matrix_rate(shape: Shape, device: torch.device, precision: str = "float32") -> float:
    """Return the FLOPs per second of torch's matrix product: the best over the sizes that occur.

    On a CPU with ``torch.get_num_threads()`` threads.
    """
    budget = TokenBudget.default(device).tokens
    pairs = {(shape.width, shape.width), (shape.width, shape.inner), (shape.inner, shape.width)}
    pairs.add((shape.width, 4 * shape.width))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    with torch.no_grad(), arithmetic(device, precision, False):
        for rows, (inner, columns) in itertools.product((budget // 4, budget), sorted(pairs)):
            x = torch.randn(rows, inner, device=device, dtype=dtype)
            weight = torch.randn(columns, inner, device=device, dtype=dtype)
            best = max(best, 2 * rows * inner * columns / _seconds(x, weight))
    return best


def _seconds(x: Tensor, weight: Tensor) -> float:
    """The best time of one product."""
    _ = x @ weight.t()
    best = float("inf")
    for _ in range(_REPEATS):
        synchronize(x.device)
        start = time.perf_counter()
        for _ in range(_CALLS):
            _ = x @ weight.t()
        synchronize(x.device)
        best = min(best, (time.perf_counter() - start) / _CALLS)
    return best


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One line: seconds and needed FLOPs, both per example."""

    name: str
    seconds: float
    flops: float


def table(costs: Sequence[Cost], rate: float) -> str:
    """The costs as a Markdown table; the first is the plain forward pass."""
    lines = [
        "| | s per example | plain forwards | needed GFLOP | floor, s | of the rate |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for cost in costs:
        floor = cost.flops / rate
        lines.append(
            f"| {cost.name} | {cost.seconds:.4f} | {cost.seconds / costs[0].seconds:.1f} "
            f"| {cost.flops / 1e9:.1f} | {floor:.4f} | {100 * floor / cost.seconds:.0f} % |"
        )
    return "\n".join(lines)
