"""The model without the heads of every mask, on a shard's examples."""

from __future__ import annotations

import numpy as np

from headwise.pruning.masking import MaskEvaluation, evaluate_masks
from headwise.stats.sums import MaskSums
from jobs.kinds.pruning import PruningResult, PruningSpec
from jobs.results import ExampleResult, SiteInfo
from workers.block import Run

FAILED = "the model's output is not a finite number"


def prune(run: Run[PruningSpec]) -> PruningResult:
    """Evaluate the masks that were planned; predictions are the whole model's."""
    model, tokenizer, sites = run.loaded.model, run.loaded.tokenizer, run.loaded.sites
    removed = run.shard.planned
    masks = np.zeros((len(removed), len(sites), max(site.heads for site in sites)), dtype=bool)
    for mask, heads in zip(masks, removed, strict=True):
        mask[tuple(np.array(heads, dtype=int).reshape(-1, 2).T)] = True
    found = evaluate_masks(
        *(model, tokenizer, run.inputs, run.gold, masks),
        max_length=run.spec.max_length,
        progress=lambda done, _total: run.progress(done),
    )
    odd = (run.shard.lo + np.arange(len(found.gold))) % 2 == 1
    return PruningResult(
        sites=tuple(
            SiteInfo(layer=site.layer, kind=site.kind, heads=site.heads, name=site.name)
            for site in sites
        ),
        # The first mask removes nothing.
        examples=tuple(
            ExampleResult(error=FAILED)
            if found.failed[0, number]
            else ExampleResult(predicted=int(found.predicted[0, number]))
            for number in range(len(found.gold))
        ),
        halves=(_sums(found, ~odd), _sums(found, odd)),
    )


def _sums(found: MaskEvaluation, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> MaskSums:
    return MaskSums.of(
        found.loss[:, chosen], found.predicted[:, chosen], found.gold[chosen], len(found.labels)
    )
