"""Classifying texts by plain forward passes, in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from headwise.attribution.batches import budget_for
from headwise.attribution.evaluator import TokenBudget
from headwise.attribution.memory import is_out_of_memory
from headwise.attribution.sharing import is_failure_of_example, may_share
from headwise.encoding import Encoded, pad, pad_id
from headwise.errors import FAILURES
from headwise.options import Options
from headwise.replay import Inputs
from headwise.replay.model import forget_lengths
from headwise.targets import TargetFunction, model_outputs

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]


class Classifier:
    """Classifies texts in batches of similar length."""

    def __init__(self, model: PreTrainedModel, token_budget: int | None) -> None:
        self.model = model
        self.budget = fixed_budget(model, token_budget)
        self.function = TargetFunction(output="probability", outputs=model_outputs(model))

    def classify(
        self, texts: Sequence[Encoded], tick: Callable[[int], None] = lambda more: None
    ) -> tuple[Ints, Floats]:
        """Return classes [N] and probabilities [N, C]; -1 and NaN where the output is not finite
        or the model raises an error for the text.

        tick: called after each pass with its number of texts
        """
        predicted = np.full(len(texts), -1, dtype=np.int32)
        probabilities = np.full((len(texts), self.model.config.num_labels), np.nan, np.float32)

        def forward(inputs: Inputs) -> Tensor:
            forget_lengths(self.model)
            logits: Tensor = self.model(**inputs).logits
            return logits

        def work(batch: list[int]) -> None:
            inputs = pad([texts[e] for e in batch], pad_id(self.model), self.model.device)
            try:
                logits = forward(inputs)
            except FAILURES as error:
                if len(batch) > 1 or not is_failure_of_example(error):
                    raise
                return tick(1)
            finite = logits.isfinite().all(1).cpu().numpy()
            rows = np.array(batch)[finite]
            predicted[rows] = logits.argmax(1).cpu().numpy()[finite]
            probabilities[rows] = self.function.probabilities(logits).cpu().numpy()[finite]
            return tick(len(batch))

        def shared(batch: list[int]) -> bool:
            return may_share(self.model, [texts[e] for e in batch], forward)

        in_batches(texts, self.budget, work, shared)
        return predicted, probabilities


def fixed_budget(model: PreTrainedModel, token_budget: int | None) -> TokenBudget:
    """Return the tokens of one pass, by default those of the device. Raises OptionError."""
    return budget_for(model, Options(token_budget=token_budget, deterministic=True))


def in_batches(
    texts: Sequence[Encoded],
    budget: TokenBudget,
    work: Callable[[list[int]], None],
    shared: Callable[[list[int]], bool],
    share: int = 1,
) -> None:
    """Do the work for all texts in batches of similar length, longest first.

    budget: halved when memory runs out
    shared: tells whether texts may share a batch; if not, it is halved
    share: a batch takes 1 / share of the budget
    """
    order = sorted(range(len(texts)), key=lambda e: len(texts[e].ids), reverse=True)
    most = len(order)
    while order:
        n = len(texts[order[0]].ids)
        rows = min(most, budget.rows(share * n))
        # At most a tenth of a batch is padding.
        batch = [e for e in order[:rows] if len(texts[e].ids) >= 0.9 * n]
        if not shared(batch):
            most = len(batch) // 2
            continue
        try:
            work(batch)
        except (*FAILURES, MemoryError) as error:
            if len(batch) == 1:
                raise
            if is_out_of_memory(error):
                budget.halve()
            elif is_failure_of_example(error):
                most = len(batch) // 2
            else:
                raise
            continue
        del order[: len(batch)]
        most = len(order)
