"""The outputs of a model that are attributed: one scalar F per example, from its logits.

Sequence classifiers are taken as they are. ``NextToken`` and ``AnswerPosition`` turn the outputs of
other models into classes; ``attribute`` takes them in place of a model, which they leave unchanged.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from headwise.errors import OptionError
from headwise.models import labels
from headwise.models.labels import Outputs, label_index

OUTPUTS = ("probability", "logit", "log-probability")

Label = str | int

# Softmax gives e^-40, less than the rounding of 1 in double precision, to impossible positions.
_IMPOSSIBLE = 40.0


def label_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the names of a model's classes, by index."""
    return labels.label_names(model.config.id2label, model.config.num_labels)


def model_outputs(model: PreTrainedModel) -> Outputs:
    """Return what the outputs of a model are."""
    return labels.outputs_of(model.config.problem_type, model.config.num_labels)


@dataclass(frozen=True, kw_only=True)
class TargetFunction:
    """The target scalar F of each example as a function of its logits.

    output: one of OUTPUTS
    outputs: what the logits are of
    """

    output: str
    outputs: Outputs

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of classes or labels, float64 [B, C]; numbers as they are."""
        logits = logits.double()
        if self.outputs is Outputs.NUMBERS:
            return logits
        return logits.softmax(-1) if self.outputs is Outputs.CLASSES else logits.sigmoid()

    def value(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return F and the log odds u = log p/(1-p) of the target, float64 [R], differentiable.

        logits: [R, C]; target: class of each row, int [R]

        In double precision, because single precision loses most digits of 1 - p near p = 1.
        """
        logits = logits.double()
        chosen = logits.gather(1, target[:, None]).squeeze(1)
        if self.outputs is Outputs.CLASSES:
            others = logits.scatter(1, target[:, None], float("-inf"))
            odds = chosen - others.logsumexp(-1)
        else:
            odds = chosen
        if self.output == "logit":
            return chosen, odds
        if self.output == "probability":
            return odds.sigmoid(), odds
        return torch.nn.functional.logsigmoid(odds), odds

    def slope(self, odds: Tensor) -> Tensor:
        """Return dF/du at given log odds; 1 for logits, which are not a function of u."""
        if self.output == "probability":
            return odds.sigmoid() * (-odds).sigmoid()
        if self.output == "log-probability":
            return (-odds).sigmoid()
        return torch.ones_like(odds)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The target of each example of a call.

    function: F of every example
    fixed: class of all examples, or None for one class per example
    gold: class of each example, or None for the predicted one
    """

    function: TargetFunction
    fixed: int | None
    gold: tuple[int, ...] | None

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        count: int,
        *,
        target: Label,
        output: str,
        gold: Sequence[Label] | None,
    ) -> Targets:
        """Resolve options for one model and ``count`` examples.

        Raises OptionError for a label that the model lacks, or another number of gold labels.
        """
        names, outputs = label_names(model), model_outputs(model)
        if outputs is Outputs.NUMBERS:
            _check_regression(names, target, output)
        indices = None
        if gold is not None:
            if len(gold) != count:
                raise OptionError(f"gold has {len(gold)} labels for {count} examples")
            indices = tuple(label_index(g, names, f"gold[{i}]") for i, g in enumerate(gold))
        per_example = target in ("gold", "predicted")
        return cls(
            function=TargetFunction(output=output, outputs=outputs),
            fixed=None if per_example else label_index(target, names, "target"),
            gold=indices if target == "gold" else None,
        )

    def classes(self, examples: Sequence[int], predicted: Tensor) -> Tensor:
        """Return the target class of each of a batch of examples, given the predicted one, [B]."""
        if self.fixed is not None:
            return torch.full_like(predicted, self.fixed)
        if self.gold is not None:
            return predicted.new_tensor([self.gold[e] for e in examples])
        return predicted


def _check_regression(names: Sequence[str], target: Label, output: str) -> None:
    """Raise OptionError for what only classes have."""
    if output != "logit":
        raise OptionError(
            f"output {output!r} needs classes, but this model's outputs are numbers (regression); "
            "use 'logit', the number itself"
        )
    if target == "gold" or (target == "predicted" and len(names) > 1):
        raise OptionError(
            f"target {target!r} needs classes, but this model's outputs are numbers (regression); "
            f"name one of them: {labels.listed(names)}"
        )


class _OutputWrapper(nn.Module):
    """A model with other outputs as classes: logits [B, C] from its output."""

    def __init__(self, model: PreTrainedModel, labels: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.training = model.training
        self.config = copy.copy(model.config)
        self.config.id2label = dict(enumerate(labels))
        self.config.problem_type = None

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def get_input_embeddings(self) -> nn.Module:
        embeddings: nn.Module = self.model.get_input_embeddings()
        return embeddings

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, **others: Tensor
    ) -> SequenceClassifierOutput:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **others)
        return SequenceClassifierOutput(logits=self.classes(output, attention_mask))

    def classes(self, output: object, mask: Tensor) -> Tensor:
        """Return the logits of the classes, [B, C], from the model's output and mask, [B, n]."""
        raise NotImplementedError


class NextToken(_OutputWrapper):
    """A causal language model as a classifier of the token that follows the text.

    tokens: the candidates, each a single token of the tokenizer (mind the space before a word). A
        last class, "other", stands for all other tokens together, so the probability of a class is
        that of the language model.

    Logits over the vocabulary are computed for all positions, though only the last is used; with a
    large vocabulary they, not the attention, limit how many rows fit into a pass.

    Raises OptionError for a candidate that is not a single token.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]
    ) -> None:
        super().__init__(model, [*tokens, "other"])
        ids = [tokenizer(token, add_special_tokens=False)["input_ids"] for token in tokens]
        for token, found in zip(tokens, ids, strict=True):
            if len(found) != 1:
                raise OptionError(f"token {token!r} is {len(found)} tokens of this tokenizer")
        if not ids or len({found[0] for found in ids}) < len(ids):
            raise OptionError(f"tokens must be different, and at least one, not {tokens!r}")
        chosen = torch.tensor([found[0] for found in ids], device=model.device)
        self.register_buffer("chosen", chosen, persistent=False)
        self.chosen: Tensor

    def classes(self, output: object, mask: Tensor) -> Tensor:
        logits: Tensor = output.logits  # type: ignore[attr-defined]
        rows = torch.arange(len(mask), device=mask.device)
        row = logits[rows, mask.sum(1) - 1]
        others = row.index_fill(1, self.chosen, float("-inf")).logsumexp(1, keepdim=True)
        return torch.cat([row[:, self.chosen], others], 1)


class AnswerPosition(_OutputWrapper):
    """A question answering model as a classifier of the token at which the answer starts or ends.

    The classes are the positions "0", "1", ...; their logits are the model's start or end logits.

    which: ``start`` or ``end``
    positions: number of classes; ``max_length`` of ``attribute`` must cut longer texts

    Raises OptionError for another ``which``.
    """

    def __init__(self, model: PreTrainedModel, which: str, positions: int = 512) -> None:
        super().__init__(model, [str(position) for position in range(positions)])
        if which not in ("start", "end"):
            raise OptionError(f"which must be 'start' or 'end', not {which!r}")
        self.which, self.positions = which, positions

    def classes(self, output: object, mask: Tensor) -> Tensor:
        logits: Tensor = getattr(output, f"{self.which}_logits")
        if logits.shape[1] > self.positions:
            raise OptionError(
                f"a text has {logits.shape[1]} tokens, more than positions={self.positions}: "
                "pass max_length"
            )
        hidden = mask == 0
        least = logits.masked_fill(hidden, float("inf")).amin(1, keepdim=True).detach()
        least = least - _IMPOSSIBLE
        logits = torch.where(hidden, least, logits)
        missing = self.positions - logits.shape[1]
        return torch.cat([logits, least.expand(-1, missing)], 1)
