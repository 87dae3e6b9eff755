"""Importance of heads by other means than attribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import headwise
from headwise.pruning.importance import leave_one_out, taylor
from jobs.kinds.importance import ImportanceResult, ImportanceSpec
from jobs.results.base import ExampleResult, Floats
from workers.block import Block

FAILED = "the loss or its gradient is not a finite number"


def compute(block: Block[ImportanceSpec]) -> ImportanceResult:
    """Compute a value per example and head, for every source of the method."""
    found = METHODS[block.spec.method](block)
    values = {source: value[block.rows] for source, value in found.items()}
    first = next(iter(values.values()))
    return ImportanceResult(
        sites=block.sites,
        examples=tuple(
            ExampleResult(error=FAILED if bad else None)
            for bad in np.isnan(first).all(axis=(1, 2)).ravel()
        ),
        values=values,
    )


def _taylor(block: Block[ImportanceSpec]) -> dict[str, Floats]:
    found = taylor(
        *(block.loaded.model, block.loaded.tokenizer, block.inputs, block.gold),
        max_length=block.spec.max_length,
        progress=lambda *_: block.progress(),
        partial=block.partial,
    )
    return {"taylor": found}


def _leave_one_out(block: Block[ImportanceSpec]) -> dict[str, Floats]:
    without = leave_one_out(
        *(block.loaded.model, block.loaded.tokenizer, block.inputs, block.gold),
        max_length=block.spec.max_length,
        progress=lambda *_: block.progress(),
        partial=block.partial,
    )
    return {"leave-one-out-loss": without.loss, "leave-one-out-accuracy": without.accuracy}


def _embedding_gradient(block: Block[ImportanceSpec]) -> dict[str, Floats]:
    found = headwise.attribute(
        *(block.loaded.model, block.loaded.tokenizer, block.inputs),
        method="embedding-gradient",
        target="gold",
        gold=block.gold,
        max_length=block.spec.max_length,
        edges=0,
        matrices=False,
        progress=lambda *_: block.progress(),
        partial=block.partial,
    )
    return {"embedding-gradient": found.scores}


METHODS: dict[str, Callable[[Block[ImportanceSpec]], dict[str, Floats]]] = {
    "taylor": _taylor,
    "leave-one-out": _leave_one_out,
    "embedding-gradient": _embedding_gradient,
}
"""The function of each method: it computes the values of its sources."""
