"""Self-attention attribution of texts: ``attribute``.

Hao, Dong, Wei, Xu, "Self-Attention Attribution: Interpreting Information Interactions Inside
Transformer", AAAI 2021 (arXiv 2004.11207), equation 2:

    Attr_h(A) = A_h * integral over a in [0, 1] of dF(a A)/dA_h

for all heads of one attention module at once. With O = A V, the path a A is the straight line a O,
hence dF/dA_h = (dF/dO_h) V_h', and only the integral of dF/dO, [n, H, d], has to be computed; see
``integrate``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.attribution.batches import HostPart, prepared
from headwise.attribution.cells import BatchCells
from headwise.attribution.collect import Collector, SiteResult, heads_of, summarize
from headwise.attribution.cpu_parallel import Tick
from headwise.attribution.evaluator import Evaluator, TokenBudget
from headwise.attribution.methods import Batch, method_for, needs_ends
from headwise.encoding import Encoded, Text, encode, from_arrays, pad, pad_id
from headwise.errors import OptionError, UnsupportedModelError
from headwise.options import Arguments, Options, takes_options
from headwise.precision import rounding_unit, widened
from headwise.pruning.shrinking import emptied
from headwise.replay import Replay
from headwise.result import Attribution, HeadPlace, find_head
from headwise.targets import Targets, label_names


@takes_options
def attribute(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    *,
    max_length: int | None = None,
    **options: Unpack[Arguments],
) -> Attribution:
    """Attribute the output of a model to every head of every attention module, for each text.

    model: a sequence classifier of transformers, or one of the wrappers in ``headwise.targets``
    texts: strings, or pairs of strings
    max_length: truncate texts to this many tokens, including special ones; by default, to the
        limit of the model
    options: see ``Options``

    The model is restored afterwards, also after an exception. Ctrl-C takes effect after the current
    pass, so that it cannot interrupt the restoring. An example whose output is not finite, or that
    the model raises an error for, fails alone: ``errors`` has the reason, and its numbers are NaN.

    Raises OptionError for a bad argument, and UnsupportedModelError for a model whose attention
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
    """Attribute examples given as token ids; otherwise like ``attribute``.

    inputs: per example a mapping with ``input_ids`` and, if the model takes them,
        ``token_type_ids`` and ``attention_mask`` (ones, then zeros for padding, which is dropped),
        each one-dimensional. The tokens of the result are the ids as strings.
    options: see ``Options``
    """
    checked = Options(**options)
    return _run(model, from_arrays(inputs), checked)


@takes_options
def begin_attribution(
    model: PreTrainedModel, encoded: Sequence[Encoded], **options: Unpack[Arguments]
) -> Callable[[], Attribution]:
    """Attribute texts that ``headwise.encoding.encode`` gave; otherwise like ``attribute``.

    For those who tokenize the next texts while these are computed, and compute them while these
    are collected.

    options: see ``Options``

    Returns when the device is free. The function, to be called once, from any thread, waits for the
    last batch to be collected and returns the result.
    """
    return _begin(model, encoded, Options(**options), leave_last=True)


def _run(model: PreTrainedModel, encoded: Sequence[Encoded], options: Options) -> Attribution:
    return _begin(model, encoded, options, leave_last=False)()


def _begin(
    model: PreTrainedModel, encoded: Sequence[Encoded], options: Options, *, leave_last: bool
) -> Callable[[], Attribution]:
    targets = Targets.of(
        model, len(encoded), target=options.target, output=options.output, gold=options.gold
    )
    if (name := emptied(model)) is not None:
        raise UnsupportedModelError(
            f"all heads before {name} were removed, so there is nothing to attribute to; "
            "attribute the whole model, or one made by headwise.zero_heads"
        )
    with prepared(model, options) as prepared_model:
        sites = prepared_model.replay.sites
        whole = [find_head(sites, name) for name in dict.fromkeys(options.heads)]
        labels = label_names(model)
        collector = Collector(options.method, sites, labels, encoded, options.edges, whole)
        call = _Call(
            encoded=encoded,
            options=options,
            targets=targets,
            budget=prepared_model.budget,
            whole=whole,
            collector=collector,
        )
        host = prepared_model.run(
            "attribution", encoded, call.attribute, collector.fail, leave_last=leave_last
        )

    def result() -> Attribution:
        host.close()
        return collector.result(options, targets.function.outputs)

    return result


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of ``attribute``."""

    encoded: Sequence[Encoded]
    options: Options
    targets: Targets
    budget: TokenBudget
    whole: Sequence[HeadPlace]
    collector: Collector

    def attribute(self, replay: Replay, batch: Sequence[int], tick: Tick) -> HostPart:
        """Attribute all sites of one batch; the host collects the results."""
        options, function = self.options, self.targets.function
        inputs = pad([self.encoded[e] for e in batch], pad_id(replay.model), replay.device)
        differentiate = needs_ends(options)
        with torch.set_grad_enabled(differentiate):
            recording = replay.record(inputs)
            predicted = recording.logits.detach().argmax(-1)
            target = self.targets.classes(batch, predicted)
            ends: Sequence[Tensor] = ()
            if differentiate:
                value, _ = function.value(recording.logits, target)
                ends = torch.autograd.grad(value.sum(), recording.output)
        if options.precision == "bf16":
            recording, ends = widened(recording), [end.float() for end in ends]
        tick()
        evaluator = Evaluator(
            replay=replay,
            recording=recording,
            function=function,
            target=target,
            budget=self.budget,
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
            values = method(site, attention)
            whole = heads_of(self.whole, site)
            results.append(summarize(values, attention, lengths, options, whole))
        cells = BatchCells.select([result.summed for result in results], lengths, replay.sites)
        probabilities = function.probabilities(recording.logits.detach()).cpu()
        add = self.collector.add
        return partial(add, batch, results, cells, probabilities, predicted.cpu(), target.cpu())
