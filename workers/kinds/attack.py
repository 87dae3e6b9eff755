"""Triggers put into a shard's texts: what each model predicts before and after."""

from __future__ import annotations

import numpy as np

from headwise import LoadedModel
from headwise.attack.attention_baseline import TextCells, attention_cells
from headwise.attack.evaluation import AttackResult as Predictions
from headwise.attack.evaluation import evaluate_triggers
from headwise.encoding import Text, encode
from headwise.stats.attack import AttackSums
from jobs.inputs.models.configuration import label_order
from jobs.kinds.attack import AttackResult, AttackSpec, ModelOutcome, TriggerKind
from jobs.kinds.triggers import Candidate, Cell, TextTokens, TriggerToken, merge
from jobs.results.base import ExampleResult
from workers.block import Block

_SPARE = 4

FAILED = "the model's output is not a finite number"


def compute(block: Block[AttackSpec]) -> AttackResult:
    """Put every trigger into every example, with every model."""
    own = block.loaded
    found = _attention(block)
    triggers = {t.number: found.get(t.number, t.tokens) for t in block.shard.planned}
    triggers = {number: tokens for number, tokens in triggers.items() if tokens}
    models = [_evaluate(block, own, triggers)]
    for model in block.spec.models:
        loaded = block.models.get(block.spec, model)
        models.append(_evaluate(block, loaded, triggers))
    before = models[0]
    return AttackResult(
        sites=block.sites,
        examples=tuple(
            ExampleResult(predicted=int(label), probabilities=tuple(map(float, probabilities)))
            if label >= 0
            else ExampleResult(error=FAILED)
            for label, probabilities in zip(before.before, before.before_probabilities, strict=True)
        ),
        triggers=tuple(triggers),
        attention=found,
        models=tuple(_outcome(block, predictions, own.labels) for predictions in models),
        keep_outcomes=block.spec.outcomes,
    )


def _attention(block: Block[AttackSpec]) -> dict[int, tuple[TriggerToken, ...]]:
    """Find the attention controls that no shard has stored yet.

    They depend only on the model and on the texts that the triggers were mined from, so all shards
    find the same ones.
    """
    sizes = {t.number: len(t.tokens) for t in block.shard.planned}
    missing = [
        t
        for t in block.shard.planned
        if t.kind is TriggerKind.ATTENTION and not t.tokens and t.origin
    ]
    texts = list(dict.fromkeys(t.origin for t in missing if t.origin))
    own = block.loaded
    plain: list[Text] = [a if b is None else (a, b) for a, b in texts]
    found = attention_cells(
        *(own.model, own.tokenizer, plain),
        # More than the rule's: cells share tokens, and as many are wanted as the trigger has.
        cells=_SPARE * block.spec.rule.cells,
        one_head=block.spec.rule.one_head,
        max_length=block.spec.max_length,
        progress=lambda *_: block.progress(),
    )
    cells = dict(zip(texts, found, strict=True))
    encoded = encode(own.model, own.tokenizer, plain, block.spec.max_length)
    tokens = {
        text: TextTokens.of(one.tokens, [part for part in text if part is not None], one.words)
        for text, one in zip(texts, encoded, strict=True)
    }
    return {
        t.number: _control(cells[t.origin], tokens[t.origin], sizes[t.mined])
        for t in missing
        if t.origin
    }


def _control(text: TextCells, tokens: TextTokens | None, size: int) -> tuple[TriggerToken, ...]:
    """Take the first `size` tokens of a text's strongest cells."""
    assert tokens is not None, "the words are known"
    positions = dict.fromkeys(p for cell in text.cells for p in (cell.query, cell.key))
    cells = (
        Cell(layer=0, attention_type="", head=0, query=position, key=position, value=0.0)
        for position in list(positions)[:size]
    )
    candidate = Candidate(job=0, example=0, label=0, tokens=tokens, cells=tuple(cells), score=0.0)
    return next((t.tokens for t in merge([candidate])), ())


def _evaluate(
    block: Block[AttackSpec],
    loaded: LoadedModel,
    triggers: dict[int, tuple[TriggerToken, ...]],
) -> Predictions:
    """Predict with one model, in its own labels."""
    spec, count = block.spec, len(block.shard.texts)
    skipped = {t.number: t.skipped for t in block.shard.planned}
    return evaluate_triggers(
        *(loaded.model, loaded.tokenizer, block.inputs, [None] * count),
        list(triggers.values()),
        insertion=spec.insertion,
        segments=spec.segments,
        max_length=spec.max_length,
        examples=range(block.shard.lo, block.shard.lo + count),
        sources=[skipped[trigger] for trigger in triggers],
        progress=lambda *_: block.progress(),
    )


def _outcome(block: Block[AttackSpec], found: Predictions, labels: tuple[str, ...]) -> ModelOutcome:
    """Convert a model's predictions to the labels of the job's model."""
    order = label_order(labels, found.labels)
    if order is None:
        names = ", ".join(found.labels)
        raise ValueError(f"a model of the attack has other labels than the first: {names}")
    # -1, which stands for no prediction, stays.
    ours = np.array([*order, -1])
    before, after = ours[found.before], ours[found.after]
    gold = np.array([-1 if label is None else label for label in block.shard.gold])
    return ModelOutcome(
        after=after,
        probabilities=found.after_probabilities[..., np.argsort(order)],
        sums=AttackSums.of(gold, before, after, len(labels)),
    )
