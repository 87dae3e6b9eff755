"""Evaluating a model without some of its heads (ablation): ``evaluate_masks``.

A head is removed by zeroing its part of the input of the output projection, O_h = 0. Nothing is
computed twice: one plain forward pass per batch is recorded and shared by all masks, and a mask is
evaluated from the first site with a removed head. Masks that agree in their first sites share these
as well: sorted, they form a tree, and a row of a replay continues the row with which it has most in
common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attribution.batches import prepared
from headwise.attribution.cpu_parallel import Tick
from headwise.attribution.evaluator import TokenBudget
from headwise.encoding import Encoded, Text, encode, pad, pad_id
from headwise.errors import OptionError
from headwise.models.labels import Outputs, label_index
from headwise.options import Options, Partial, Progress
from headwise.replay import Recording, Replay, RowGroup, Site
from headwise.stats.sums import MaskSums
from headwise.targets import Label, label_names, model_outputs

Bools = NDArray[np.bool_]
Ints = NDArray[np.int32]
Doubles = NDArray[np.float64]
Texts = Sequence[Text] | Sequence[Encoded]


class Arguments(TypedDict, total=False):
    """The optional arguments of ``evaluate_masks``, for functions that pass them on."""

    max_length: int | None
    token_budget: int | None
    precision: str
    deterministic: bool
    progress: Progress | None
    partial: Partial | None


@dataclass(frozen=True, kw_only=True)
class MaskEvaluation:
    """E examples under M masks, for C classes.

    masks: as given, bool [M, S, H]
    sites: the sites of the model, in order of evaluation
    labels: names of the classes
    loss: cross-entropy with the gold label, float64 [M, E]; NaN where the output is not finite
    predicted: class, int32 [M, E]; -1 where the output is not finite
    gold: class, int32 [E]
    """

    masks: Bools
    sites: tuple[Site, ...]
    labels: tuple[str, ...]
    loss: Doubles
    predicted: Ints
    gold: Ints

    @property
    def failed(self) -> Bools:
        """The output of the model is not finite, bool [M, E]."""
        failed: Bools = self.predicted < 0
        return failed

    @property
    def correct(self) -> Doubles:
        """1 where the prediction is the gold label, 0 elsewhere, NaN where it failed, [M, E]."""
        return np.where(self.failed, math.nan, self.predicted == self.gold)

    def sums(self) -> MaskSums:
        """Return the sums from which accuracy, loss and macro F1 follow; sums of shards add up."""
        return MaskSums.of(self.loss, self.predicted, self.gold, len(self.labels))


def evaluate_masks(  # noqa: PLR0913 - options are keyword arguments in a notebook
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    texts: Texts,
    labels: Sequence[Label],
    masks: Bools,
    *,
    max_length: int | None = None,
    token_budget: int | None = None,
    precision: str = "float32",
    deterministic: bool = False,
    progress: Progress | None = None,
    partial: Partial | None = None,
) -> MaskEvaluation:
    """Compute loss and prediction of every text without the heads of every mask.

    texts: as for ``attribute``, or encoded ones, which need no tokenizer
    labels: one gold label per text, by name or index
    masks: bool [M, S, H], True where a head is removed; S and H as in ``Attribution.scores``.
        Values for heads that a site does not have are ignored.
    max_length: see ``attribute``
    token_budget, precision, deterministic, progress, partial: see ``Options``

    The model is restored, and Ctrl-C and lack of memory are handled, as by ``attribute``.

    Raises OptionError for a bad argument or a model without exclusive classes, and
    UnsupportedModelError for a model whose attention cannot be replayed.
    """
    options = Options(
        token_budget=token_budget,
        precision=precision,
        deterministic=deterministic,
        progress=progress,
        partial=partial,
    )
    encoded = encoded_texts(model, tokenizer, texts, max_length)
    gold = gold_labels(model, labels, len(encoded))
    with prepared(model, options) as prepared_model:
        sites = prepared_model.replay.sites
        tree = MaskTree(masks, sites)
        loss = np.full((len(tree.masks), len(encoded)), math.nan)
        predicted = np.full(loss.shape, -1, dtype=np.int32)

        def work(replay: Replay, batch: Sequence[int], tick: Tick) -> None:
            inputs = pad([encoded[e] for e in batch], pad_id(model), replay.device)
            logits = _logits(replay, inputs, tree, prepared_model.budget, tick)
            target = torch.from_numpy(gold[list(batch)]).long()
            loss[:, batch], predicted[:, batch] = _scores(logits, target)

        prepared_model.run("masks", encoded, work)
    return MaskEvaluation(
        masks=masks,
        sites=sites,
        labels=label_names(model),
        loss=loss[tree.inverse],
        predicted=predicted[tree.inverse],
        gold=gold,
    )


def encoded_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    texts: Texts,
    max_length: int | None,
) -> list[Encoded]:
    """Encode texts, unless they are encoded already. Raises OptionError for anything else."""
    if isinstance(texts, str):
        raise OptionError("texts must be a sequence of strings or pairs, not one string")
    ready = [text for text in texts if isinstance(text, Encoded)]
    if len(ready) == len(texts):
        return ready
    if tokenizer is None or ready:
        raise OptionError("texts must all be encoded, or none of them, with a tokenizer for them")
    return encode(
        model, tokenizer, [text for text in texts if not isinstance(text, Encoded)], max_length
    )


def gold_labels(model: PreTrainedModel, labels: Sequence[Label], count: int) -> Ints:
    """Return the class indices of the gold labels, int32 [E].

    Raises OptionError for a label that the model lacks, for another number of labels than
    ``count``, and for a model without exclusive classes.
    """
    names = label_names(model)
    if model_outputs(model) is not Outputs.CLASSES:
        raise OptionError("accuracy and loss need a model that chooses one of several classes")
    if len(labels) != count:
        raise OptionError(f"labels has {len(labels)} labels for {count} texts")
    gold = [label_index(label, names, f"labels[{i}]") for i, label in enumerate(labels)]
    return np.array(gold, dtype=np.int32)


class MaskTree:
    """Distinct masks, sorted so that each has most in common with the one before.

    masks: bool [D, S, H], all different; a mask that removes nothing comes first
    inverse: index of each given mask among these, [M]

    Raises OptionError for masks whose shape does not fit the model.
    """

    def __init__(self, masks: Bools, sites: Sequence[Site]) -> None:
        heads = np.array([site.heads for site in sites])
        shape = (len(sites), int(heads.max()))
        if masks.dtype != np.bool_ or masks.ndim != 3 or masks.shape[1:] != shape:
            raise OptionError(
                f"masks must be bool [M, {shape[0]}, {shape[1]}] for this model's sites and "
                f"heads, not {masks.dtype} {list(masks.shape)}"
            )
        real = masks & (np.arange(shape[1]) < heads[:, None])
        flat, inverse = np.unique(real.reshape(len(masks), -1), axis=0, return_inverse=True)
        self.masks: Bools = flat.reshape(-1, *shape)
        self.inverse = inverse.reshape(-1)
        # The first site at which each mask differs from the one before, or from an empty one.
        before = np.concatenate([np.zeros_like(self.masks[:1]), self.masks[:-1]])
        self._first: list[int] = (self.masks != before).any(2).argmax(1).tolist()
        self.removes = self.masks.any((1, 2))

    def groups(self, start: int, stop: int, examples: Tensor) -> tuple[list[RowGroup], Tensor]:
        """Return the rows of masks ``start`` to ``stop`` for some examples of a recording.

        examples: indices in the recording, int [e]

        Also returns the position of each row in the order (mask, example), int [rows].
        """
        first = [self._start(start), *self._first[start + 1 : stop]]
        parents: list[int] = []
        for mask, site in enumerate(first):
            parent = mask - 1
            while parent >= 0 and first[parent] >= site:
                parent = parents[parent]
            parents.append(parent)
        order = sorted(range(len(first)), key=lambda mask: first[mask])
        count = len(examples)
        place = {mask: position * count for position, mask in enumerate(order)}
        keep = torch.from_numpy(~self.masks[start:stop]).to(examples.device)
        each = torch.arange(count, device=examples.device)
        groups = []
        for site in sorted(set(first)):
            chosen = [mask for mask in order if first[mask] == site]
            continued = [
                place[parents[m]] + each if parents[m] >= 0 else each * 0 - 1 for m in chosen
            ]
            groups.append(
                RowGroup(
                    site=site,
                    rows=examples.repeat(len(chosen)),
                    keep=keep[chosen].repeat_interleave(count, 0),
                    parents=torch.cat(continued),
                )
            )
        return groups, torch.cat([mask * count + each for mask in order])

    def stop(self, start: int, budget: int, whole: int, last: int) -> int:
        """Return the end of the masks from ``start`` on that fit into one pass.

        budget: tokens of a pass
        whole: tokens of all examples under one mask; a mask that starts at site ``last`` or later
            is almost free
        """
        stop, spent = start, 0
        while stop < len(self.masks):
            site = self._start(stop) if stop == start else self._first[stop]
            spent += whole if site < last else 0
            if spent > budget and stop > start:
                break
            stop += 1
        return stop

    def _start(self, mask: int) -> int:
        """The first site in which a mask removes a head."""
        site: int = int(self.masks[mask].any(1).argmax())
        return site


def _logits(
    replay: Replay, inputs: dict[str, Tensor], tree: MaskTree, budget: TokenBudget, tick: Tick
) -> Tensor:
    """Compute the logits of all distinct masks for a batch, [D, B, C]."""
    with torch.no_grad():
        recording = replay.record(inputs)
        tick()
        size, masks = len(recording.logits), len(tree.masks)
        logits = recording.logits.repeat(masks, 1, 1)
        begin = int(np.argmax(tree.removes)) if tree.removes.any() else masks
        # Few examples with many masks, as masks have more in common than examples.
        some = min(size, max(1, budget.rows(recording.length) // masks))
        for examples in torch.split(torch.arange(size, device=replay.device), some):
            start = begin
            while start < masks:
                tokens = len(examples) * recording.length
                stop = tree.stop(start, budget.tokens, tokens, _last(recording, replay))
                groups, place = tree.groups(start, stop, examples)
                found = replay.logits(recording, groups)
                ordered = torch.empty_like(found).index_copy_(0, place, found)
                logits[start:stop, examples] = ordered.view(stop - start, len(examples), -1)
                tick()
                start = stop
    return logits


def _last(recording: Recording, replay: Replay) -> int:
    """The first site from which only one token per text is computed."""
    return len(replay.sites) if recording.needed is None else recording.last_layer


def _scores(logits: Tensor, gold: Tensor) -> tuple[Doubles, Ints]:
    """Cross-entropy and predicted class of logits [D, B, C]; NaN and -1 where not finite."""
    logits = logits.double().cpu()
    target = gold.expand(len(logits), -1)[..., None]
    loss = -logits.log_softmax(-1).gather(2, target).squeeze(2)
    failed = ~logits.isfinite().all(-1)
    predicted = logits.argmax(-1).masked_fill(failed, -1)
    return loss.masked_fill(failed, math.nan).numpy(), predicted.int().numpy()
