"""Self-attention attribution of whole data sets: ``attribute``.

Hao, Dong, Wei, Xu, "Self-Attention Attribution: Interpreting Information Interactions Inside
Transformer", AAAI 2021 (arXiv 2004.11207), equation 2:

    Attr_h(A) = A_h * integral over a in [0, 1] of dF(a A)/dA_h

for all heads of one attention module at once. With O = A V the path a A is the straight line
a O, hence dF/dA_h = (dF/dO_h) V_h' and only the integral of dF/dO, [n, H, d], has to be
computed; see ``integrate``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headwise.collect import Collector, SiteResult, attribution_norm, summarize
from headwise.encoding import Encoded, Text, encode, from_arrays, pad
from headwise.errors import OptionError
from headwise.integrate import integrate_auto, integrate_fixed
from headwise.loading import label_names
from headwise.objective import OUTPUTS, Label, Objective, label_index
from headwise.passes import Passes, TokenBudget, is_out_of_memory
from headwise.quadrature import MAX_POINTS, Rule, parse_integration
from headwise.replay import Replay
from headwise.result import Attribution

Progress = Callable[[int, int], object]

# A budget that was halved on out-of-memory is remembered for the model's next calls.
_budgets: WeakKeyDictionary[PreTrainedModel, TokenBudget] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class _Options:
    objective: Objective
    fixed_target: int | None  # a label for all examples; None: per example, gold or predicted
    gold: tuple[int, ...] | None
    rule: Rule | None  # None: adaptive
    rtol: float
    max_points: int
    edges: int
    matrices: bool


def attribute(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    *,
    target: Label = "predicted",
    gold: Sequence[Label] | None = None,
    output: str = "probability",
    integration: str = "auto",
    rtol: float = 1e-3,
    max_points: int = 64,
    max_length: int | None = None,
    edges: int = 16,
    matrices: bool = True,
    token_budget: int | None = None,
    progress: Progress | None = None,
) -> Attribution:
    """Attribute a model's output to every head of every attention module, for every text.

    texts: strings, or pairs of strings, for a sequence classifier of transformers
    target: the class whose output is attributed: ``predicted``, ``gold``, a label's name or index
    gold: one label per text, by name or index; needed for target ``gold``
    output: ``probability``, ``logit`` or ``log-probability`` of that class
    integration: ``auto`` chooses the points per example and site until the estimated relative
        error of the attribution (L2 norm over all heads and cells of the site) meets ``rtol``;
        ``gauss-legendre:m`` and ``left-riemann:m`` are fixed rules of m points
    max_points: the most points ``auto`` spends on one example and site
    max_length: cut texts to this many tokens, special ones included; the model's limit otherwise
    edges: how many largest cells to keep per example
    matrices: keep the whole attribution, float32 [S, H, n, n] per example
    token_budget: tokens (rows x length) in one pass through the model; halved, and remembered
        for the model, when memory runs out
    progress: called as ``progress(done, total)`` in examples, after every pass; an exception
        from it ends the work, with the model restored

    The model is left as it was found, also after an exception. An example whose output is not
    finite fails alone: its reason is in ``errors``, its numbers are NaN.

    Raises OptionError for a bad argument and UnsupportedModelError for a model whose attention
    cannot be replayed.
    """
    if isinstance(texts, str):
        raise OptionError("texts must be a sequence of strings or pairs, not one string")
    encoded = encode(model, tokenizer, texts, max_length)
    return _run(
        model,
        encoded,
        _options(
            model,
            len(encoded),
            target,
            gold,
            output,
            integration,
            rtol,
            max_points,
            edges,
            matrices,
        ),
        token_budget,
        progress,
    )


def attribute_encoded(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Any]],
    *,
    target: Label = "predicted",
    gold: Sequence[Label] | None = None,
    output: str = "probability",
    integration: str = "auto",
    rtol: float = 1e-3,
    max_points: int = 64,
    edges: int = 16,
    matrices: bool = True,
    token_budget: int | None = None,
    progress: Progress | None = None,
) -> Attribution:
    """``attribute`` for examples that are token ids already.

    inputs: per example a mapping with ``input_ids`` and, where the model takes them,
        ``token_type_ids`` and ``attention_mask`` (ones, then zeros for padding, which is dropped),
        each one-dimensional. The tokens of the result are the ids as strings.
    """
    encoded = from_arrays(inputs)
    return _run(
        model,
        encoded,
        _options(
            model,
            len(encoded),
            target,
            gold,
            output,
            integration,
            rtol,
            max_points,
            edges,
            matrices,
        ),
        token_budget,
        progress,
    )


def _options(
    model: PreTrainedModel,
    count: int,
    target: Label,
    gold: Sequence[Label] | None,
    output: str,
    integration: str,
    rtol: float,
    max_points: int,
    edges: int,
    matrices: bool,
) -> _Options:
    labels = label_names(model)
    if output not in OUTPUTS:
        raise OptionError(f"output {output!r} is unknown; use one of {', '.join(OUTPUTS)}")
    if len(labels) < 2 and output != "logit":
        raise OptionError(f"output {output!r} needs two classes; this model has one: use 'logit'")
    if not (isinstance(rtol, float | int) and 0 < rtol < 1):
        raise OptionError(f"rtol must be between 0 and 1, not {rtol!r}")
    if not 3 <= max_points <= MAX_POINTS:
        raise OptionError(f"max_points must be from 3 to {MAX_POINTS}, not {max_points}")
    if edges < 0:
        raise OptionError(f"edges must be at least 0, not {edges}")
    golden = None
    if gold is not None:
        if len(gold) != count:
            raise OptionError(f"gold has {len(gold)} labels for {count} examples")
        golden = tuple(label_index(lab, labels, f"gold[{i}]") for i, lab in enumerate(gold))
    if target == "gold" and golden is None:
        raise OptionError("target 'gold' needs the gold labels: pass gold=[...]")
    per_example = target in ("gold", "predicted")
    return _Options(
        objective=Objective(
            output=output,
            exclusive=model.config.problem_type != "multi_label_classification",
        ),
        fixed_target=None if per_example else label_index(target, labels, "target"),
        gold=golden if target == "gold" else None,
        rule=parse_integration(integration),
        rtol=float(rtol),
        max_points=max_points,
        edges=edges,
        matrices=matrices,
    )


def _run(
    model: PreTrainedModel,
    encoded: Sequence[Encoded],
    options: _Options,
    token_budget: int | None,
    progress: Progress | None,
) -> Attribution:
    budget = _budget(model, token_budget)
    done = 0

    def tick() -> None:
        if progress is not None:
            progress(done, len(encoded))

    with Replay(model) as replay:
        collector = Collector(replay.sites, label_names(model), encoded, options.edges)
        # Longest first: if memory does not suffice, that shows at the start.
        waiting = _batches(encoded, budget)
        while waiting:
            batch = waiting.pop()
            try:
                _attribute_batch(replay, encoded, batch, options, budget, tick, collector)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(batch) == 1:
                    raise
                budget.halve()
                middle = len(batch) // 2
                waiting += [batch[:middle], batch[middle:]]
                continue
            done += len(batch)
            tick()
    return collector.result(keep_matrices=options.matrices)


def _budget(model: PreTrainedModel, tokens: int | None) -> TokenBudget:
    if tokens is not None:
        if tokens < 1:
            raise OptionError(f"token_budget must be at least 1, not {tokens}")
        return TokenBudget(tokens)
    if model not in _budgets:
        _budgets[model] = TokenBudget.default(model.device)
    return _budgets[model]


def _batches(encoded: Sequence[Encoded], budget: TokenBudget) -> list[list[int]]:
    """Examples of similar length together, shortest first.

    A batch takes a quarter of the budget, as each pass has several points of every example, and
    at most a tenth of it is padding.
    """
    order = sorted(range(len(encoded)), key=lambda e: len(encoded[e].ids), reverse=True)
    batches: list[list[int]] = []
    longest = 0
    for example in order:
        n = len(encoded[example].ids)
        if not batches or n < 0.9 * longest or len(batches[-1]) >= budget.rows(4 * longest):
            batches.append([])
            longest = n
        batches[-1].append(example)
    return batches[::-1]


def _attribute_batch(
    replay: Replay,
    encoded: Sequence[Encoded],
    batch: Sequence[int],
    options: _Options,
    budget: TokenBudget,
    tick: Callable[[], None],
    collector: Collector,
) -> None:
    """All sites of one batch; its results go to the collector only when it is complete."""
    pad_id = replay.model.config.pad_token_id or 0
    inputs = pad([encoded[e] for e in batch], pad_id, replay.device)
    adaptive = options.rule is None
    with torch.set_grad_enabled(adaptive):
        tape = replay.record(inputs)
        predicted = tape.logits.detach().argmax(-1)
        target = _targets(options, batch, predicted)
        ends: Sequence[Tensor | None] = [None] * len(replay.sites)
        if adaptive:
            value, _ = options.objective.value(tape.logits, target)
            ends = torch.autograd.grad(value.sum(), tape.output)
    tick()
    passes = Passes(
        replay=replay,
        tape=tape,
        objective=options.objective,
        target=target,
        budget=budget,
        tick=tick,
    )
    lengths = inputs["attention_mask"].sum(1)
    results: list[SiteResult] = []
    for site, end in enumerate(ends):
        attention = tape.attention(site)
        if end is None:
            assert options.rule is not None
            integral = integrate_fixed(passes, site, options.rule)
        else:
            end = end[:, : replay.rows_needed(site, end.shape[1])]
            norm = attribution_norm(tape, site, attention)
            integral = integrate_auto(passes, site, end, norm, options.rtol, options.max_points)
        results.append(
            summarize(tape, site, attention, integral, lengths, options.edges, options.matrices)
        )
    probabilities = options.objective.probabilities(tape.logits.detach())
    collector.add(batch, results, probabilities, predicted, target)


def _targets(options: _Options, batch: Sequence[int], predicted: Tensor) -> Tensor:
    if options.fixed_target is not None:
        return torch.full_like(predicted, options.fixed_target)
    if options.gold is not None:
        return predicted.new_tensor([options.gold[e] for e in batch])
    return predicted
