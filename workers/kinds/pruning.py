"""The model without the heads of every mask, on a shard's examples."""

from __future__ import annotations

import numpy as np

from headwise.pruning.masking import MaskEvaluation, evaluate_masks
from headwise.stats.sums import MaskSums
from jobs.kinds.pruning import PruningResult, PruningSpec
from jobs.results.base import ExampleResult
from workers.block import Block

FAILED = "the model's output is not a finite number"


def compute(block: Block[PruningSpec]) -> PruningResult:
    """Evaluate the planned masks; the predictions stored are those of the unpruned model."""
    model, tokenizer, sites = block.loaded.model, block.loaded.tokenizer, block.loaded.sites
    removed = block.shard.planned
    masks = np.zeros((len(removed), len(sites), max(site.heads for site in sites)), dtype=bool)
    for mask, heads in zip(masks, removed, strict=True):
        mask[tuple(np.array(heads, dtype=int).reshape(-1, 2).T)] = True
    found = evaluate_masks(
        *(model, tokenizer, block.inputs, block.gold, masks),
        max_length=block.spec.max_length,
        progress=lambda *_: block.progress(),
        partial=block.partial,
    )
    rows = np.array(block.rows, dtype=int)
    odd = (block.shard.lo + rows) % 2 == 1
    return PruningResult(
        sites=block.sites,
        # The first mask removes nothing.
        examples=tuple(
            ExampleResult(error=FAILED)
            if found.failed[0, number]
            else ExampleResult(predicted=int(found.predicted[0, number]))
            for number in rows
        ),
        halves=(_sums(found, rows[~odd]), _sums(found, rows[odd])),
    )


def _sums(found: MaskEvaluation, chosen: np.ndarray[tuple[int], np.dtype[np.int_]]) -> MaskSums:
    return MaskSums.of(
        found.loss[:, chosen], found.predicted[:, chosen], found.gold[chosen], len(found.labels)
    )
