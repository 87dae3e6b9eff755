"""Importance of heads by several sources: a value per example and head, [E, S, H].

``summarize`` computes means, errors and ranks. ``attribution_values`` takes the values from an
attribution; the other sources are for comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attribution.batches import prepared
from headwise.attribution.cpu_parallel import Tick
from headwise.encoding import pad, pad_id
from headwise.errors import OptionError
from headwise.options import Options, Partial, Progress
from headwise.pruning.masking import (
    Arguments,
    Doubles,
    Texts,
    encoded_texts,
    evaluate_masks,
    gold_labels,
)
from headwise.replay import Replay, Site
from headwise.result import Attribution
from headwise.stats.ranking import REPLICATES, Importance, ImportanceSums
from headwise.targets import Label

ATTRIBUTION_SOURCES = {
    "attattr": lambda result: result.scores,
    "attattr-total": lambda result: result.totals,
    "attattr-absolute-total": lambda result: np.abs(result.totals),
    "attention": lambda result: result.attention_max,
}
"""Sources in an ``Attribution``: the largest cell, the sum of all cells, its absolute value, and
the largest attention probability."""


def attribution_values(result: Attribution, source: str = "attattr") -> Doubles:
    """Return values [E, S, H] from an attribution, by one of ``ATTRIBUTION_SOURCES``.

    Raises OptionError for an unknown source.
    """
    if source not in ATTRIBUTION_SOURCES:
        raise OptionError(
            f"source {source!r} is unknown; use one of {', '.join(ATTRIBUTION_SOURCES)}"
        )
    values: Doubles = ATTRIBUTION_SOURCES[source](result).astype(np.float64)
    return values


def taylor(  # noqa: PLR0913 - options are keyword arguments in a notebook
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    texts: Texts,
    labels: Sequence[Label],
    *,
    max_length: int | None = None,
    token_budget: int | None = None,
    precision: str = "float32",
    deterministic: bool = False,
    progress: Progress | None = None,
    partial: Partial | None = None,
) -> Doubles:
    """Compute |sum over A of A * dL/dA| per example and head, float64 [E, S, H].

    L is the cross-entropy with the gold label. Michel, Levy, Neubig (2019), "Are Sixteen Heads
    Really Better than One?", equation 2. With O = A V this is |<O_h, dL/dO_h>|, so one forward and
    one backward pass give all sites. NaN for heads that a site does not have, and for examples
    whose values are not finite.

    Arguments and errors are those of ``evaluate_masks``.
    """
    options = Options(
        token_budget=token_budget,
        precision=precision,
        deterministic=deterministic,
        progress=progress,
        partial=partial,
    )
    encoded = encoded_texts(model, tokenizer, texts, max_length)
    gold = torch.from_numpy(gold_labels(model, labels, len(encoded))).long()
    with prepared(model, options) as prepared_model:
        sites = prepared_model.replay.sites
        values = np.full((len(encoded), len(sites), _most_heads(sites)), math.nan)

        def work(replay: Replay, batch: Sequence[int], _: Tick) -> None:
            inputs = pad([encoded[e] for e in batch], pad_id(model), replay.device)
            with torch.enable_grad():
                recording = replay.record(inputs)
                target = gold[list(batch)].to(replay.device)
                loss = torch.nn.functional.cross_entropy(
                    recording.logits.double(), target, reduction="sum"
                )
                gradients = torch.autograd.grad(loss, recording.output)
            for site, (output, gradient) in enumerate(
                zip(recording.output, gradients, strict=True)
            ):
                sums = (output.detach().double() * gradient.double()).sum((1, 3)).abs()
                values[batch, site, : sums.shape[1]] = sums.cpu().numpy()

        prepared_model.run("taylor", encoded, work)
    return _whole(values, sites)


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """The change when a single head is removed, float64 [E, S, H].

    loss: cross-entropy without the head minus that of the whole model
    accuracy: 1 where only the whole model is right, -1 where only the model without the head is
        right, else 0; its mean is the loss of accuracy
    """

    loss: Doubles
    accuracy: Doubles


def leave_one_out(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    texts: Texts,
    labels: Sequence[Label],
    **arguments: Unpack[Arguments],
) -> LeaveOneOut:
    """Evaluate a model without each head in turn.

    Arguments and errors are those of ``evaluate_masks``, NaN as in ``taylor``.
    """
    with prepared(model, Options()) as prepared_model:
        sites = prepared_model.replay.sites
    masks = one_head_masks(sites)
    found = evaluate_masks(
        model,
        tokenizer,
        texts,
        labels,
        np.concatenate([np.zeros_like(masks[:1]), masks]),
        **arguments,
    )
    loss, correct = found.loss, found.correct
    place = masks.any(0)

    def spread(differences: Doubles) -> Doubles:
        values = np.full((differences.shape[1], *place.shape), math.nan)
        values[:, place] = differences.T
        return _whole(values, sites)

    return LeaveOneOut(loss=spread(loss[1:] - loss[0]), accuracy=spread(correct[0] - correct[1:]))


def one_head_masks(sites: Sequence[Site]) -> NDArray[np.bool_]:
    """Return one mask per head, in order of site and head, bool [heads, S, H]."""
    real = np.arange(_most_heads(sites)) < np.array([site.heads for site in sites])[:, None]
    masks = np.zeros((int(real.sum()), *real.shape), dtype=np.bool_)
    masks[np.arange(len(masks)), *np.nonzero(real)] = True
    return masks


def random_importance(sites: Sequence[Site], seed: int, draw: int = 0) -> Doubles:
    """Return a uniform random mean per head, [S, H]; NaN for heads that a site does not have.

    It depends on seed and draw alone, and is the same on every machine.
    """
    generator = np.random.default_rng([seed, draw])
    values = generator.random((1, len(sites), _most_heads(sites)))
    mean: Doubles = _whole(values, sites)[0]
    return mean


def summarize(
    source: str,
    values: NDArray[np.floating[Any]],
    example_numbers: Sequence[int] | None = None,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Importance:
    """Compute means, errors and ranks of values [E, S, H].

    Examples with nothing but NaN do not count.

    example_numbers: number of each example in the whole data, by default 0, 1, ...; it determines,
        with the seed, the bootstrap weights of the example

    Raises ValueError if no example counts.
    """
    numbers = np.arange(len(values)) if example_numbers is None else np.array(example_numbers)
    return ImportanceSums.of(values, numbers, replicates=replicates, seed=seed).importance(source)


def _most_heads(sites: Sequence[Site]) -> int:
    return max(site.heads for site in sites)


def _whole(values: Doubles, sites: Sequence[Site]) -> Doubles:
    """Set heads that do not exist to NaN, and all values of examples with any other NaN."""
    real = np.arange(values.shape[2]) < np.array([site.heads for site in sites])[:, None]
    failed = ~np.isfinite(values[:, real]).all(1)
    values = np.where(real, values, math.nan)
    values[failed] = math.nan
    return values
