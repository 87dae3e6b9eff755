"""Importance of heads by Taylor expansion or leaving one head out."""

from __future__ import annotations

import numpy as np

from headwise.pruning.importance import leave_one_out, taylor
from jobs.kinds.importance import ImportanceResult, ImportanceSpec
from jobs.results import ExampleResult, Floats
from workers.block import Block

FAILED = "the loss or its gradient is not a finite number"


def compute(block: Block[ImportanceSpec]) -> ImportanceResult:
    """Compute a value per example and head, for every source of the method."""
    model, tokenizer, spec = block.loaded.model, block.loaded.tokenizer, block.spec
    values: dict[str, Floats]
    if spec.method == "taylor":
        found = taylor(
            *(model, tokenizer, block.inputs, block.gold),
            max_length=spec.max_length,
            progress=lambda done, _total: block.progress(done),
        )
        values = {"taylor": found}
    else:
        without = leave_one_out(
            *(model, tokenizer, block.inputs, block.gold),
            max_length=spec.max_length,
            progress=lambda done, _total: block.progress(done),
        )
        values = {"leave-one-out-loss": without.loss, "leave-one-out-accuracy": without.accuracy}
    first = np.asarray(next(iter(values.values())))
    return ImportanceResult(
        sites=block.sites,
        examples=tuple(
            ExampleResult(error=FAILED if bad else None)
            for bad in np.isnan(first).all(axis=(1, 2)).ravel()
        ),
        values=values,
    )
