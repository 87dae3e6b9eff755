"""Self-attention attribution of whole data sets: ``attribute``.

Hao, Dong, Wei, Xu, "Self-Attention Attribution: Interpreting Information Interactions Inside
Transformer", AAAI 2021 (arXiv 2004.11207), equation 2:

    Attr_h(A) = A_h * integral over a in [0, 1] of dF(a A)/dA_h

for all heads of one attention module at once. With O = A V the path a A is the straight line
a O, hence dF/dA_h = (dF/dO_h) V_h' and only the integral of dF/dO, [n, H, d], has to be
computed; see ``integrate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attribution.batches import Tick, prepared
from headwise.attribution.collect import Collector, SiteResult, summarize
from headwise.attribution.evaluator import Evaluator, TokenBudget
from headwise.attribution.methods import Batch, method_for, needs_ends
from headwise.encoding import Encoded, Text, encode, from_arrays, pad
from headwise.errors import OptionError, UnsupportedModelError
from headwise.loading import label_names
from headwise.options import Arguments, Options, Targets, takes_options
from headwise.precision import rounding_unit, widened
from headwise.pruning.shrinking import emptied
from headwise.replay import Replay
from headwise.result import Attribution


@takes_options
def attribute(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    *,
    max_length: int | None = None,
    **options: Unpack[Arguments],
) -> Attribution:
    """Attribute a model's output to every head of every attention module, for every text.

    texts: strings, or pairs of strings, for a sequence classifier of transformers
    max_length: cut texts to this many tokens, special ones included; the model's limit otherwise
    options: see ``Options``

    The model is left as it was found, also after an exception. Ctrl-C takes effect behind the
    pass that is running, so that it cannot come in the middle of putting things back. An example
    whose output is not finite fails alone: its reason is in ``errors``, its numbers are NaN.

    Raises OptionError for a bad argument and UnsupportedModelError for a model whose attention
    cannot be replayed.
    """
    checked = Options(**options)
    if isinstance(texts, str):
        raise OptionError("texts must be a sequence of strings or pairs, not one string")
    return _run(model, encode(model, tokenizer, texts, max_length), checked)


@takes_options
def attribute_encoded(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Any]],
    **options: Unpack[Arguments],
) -> Attribution:
    """``attribute`` for examples that are token ids already.

    inputs: per example a mapping with ``input_ids`` and, where the model takes them,
        ``token_type_ids`` and ``attention_mask`` (ones, then zeros for padding, which is dropped),
        each one-dimensional. The tokens of the result are the ids as strings.
    options: see ``Options``
    """
    checked = Options(**options)
    return _run(model, from_arrays(inputs), checked)


def _run(model: PreTrainedModel, encoded: Sequence[Encoded], options: Options) -> Attribution:
    targets = Targets.of(model, options, len(encoded))
    if (name := emptied(model)) is not None:
        raise UnsupportedModelError(
            f"all heads before {name} were removed, so there is nothing to attribute to; "
            "attribute the whole model, or one that headwise.zero_heads has made"
        )
    with prepared(model, options) as runner:
        labels = label_names(model)
        collector = Collector(options.method, runner.replay.sites, labels, encoded, options.edges)

        def work(replay: Replay, batch: Sequence[int], tick: Tick) -> None:
            _attribute_batch(
                replay, encoded, batch, options, targets, runner.budget, tick, collector
            )

        runner.run(encoded, work)
    return collector.result(keep_matrices=options.matrices)


def _attribute_batch(
    replay: Replay,
    encoded: Sequence[Encoded],
    batch: Sequence[int],
    options: Options,
    targets: Targets,
    budget: TokenBudget,
    tick: Tick,
    collector: Collector,
) -> None:
    """All sites of one batch; its results go to the collector only when it is complete."""
    pad_id = replay.model.config.pad_token_id or 0
    inputs = pad([encoded[e] for e in batch], pad_id, replay.device)
    differentiate = needs_ends(options)
    with torch.set_grad_enabled(differentiate):
        recording = replay.record(inputs)
        predicted = recording.logits.detach().argmax(-1)
        target = _targets(targets, batch, predicted)
        ends: Sequence[Tensor] = ()
        if differentiate:
            value, _ = targets.objective.value(recording.logits, target)
            ends = torch.autograd.grad(value.sum(), recording.output)
    if options.precision == "bf16":
        recording, ends = widened(recording), [end.float() for end in ends]
    tick()
    evaluator = Evaluator(
        replay=replay,
        recording=recording,
        objective=targets.objective,
        target=target,
        budget=budget,
        unit=rounding_unit(options.precision, recording.logits.dtype),
        tick=tick,
    )
    lengths = inputs["attention_mask"].sum(1)
    method = method_for(
        Batch(options=options, evaluator=evaluator, ends=ends, examples=batch, lengths=lengths)
    )
    results: list[SiteResult] = []
    for site in range(len(replay.sites)):
        attention = recording.attention(site)
        cells = method(site, attention)
        results.append(summarize(cells, attention, lengths, options.edges, options.matrices))
    probabilities = targets.objective.probabilities(recording.logits.detach())
    collector.add(batch, results, probabilities, predicted, target)


def _targets(targets: Targets, batch: Sequence[int], predicted: Tensor) -> Tensor:
    if targets.fixed is not None:
        return torch.full_like(predicted, targets.fixed)
    if targets.gold is not None:
        return predicted.new_tensor([targets.gold[e] for e in batch])
    return predicted
