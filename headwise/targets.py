"""What is differentiated: one scalar per example, made from the model's logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwise.errors import OptionError

OUTPUTS = ("probability", "logit", "log-probability")

Label = str | int


def label_index(label: Label, labels: Sequence[str], where: str) -> int:
    """Index of a class given by name or index; OptionError names ``where`` it came from."""
    if isinstance(label, str) and label in labels:
        return labels.index(label)
    if not isinstance(label, str) and 0 <= int(label) < len(labels):
        return int(label)
    raise OptionError(
        f"{where}: {label!r} is no label of the model; it has "
        + ", ".join(f"{name!r} ({index})" for index, name in enumerate(labels))
    )


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The target scalar F of each example.

    output: one of OUTPUTS
    exclusive: the classes exclude each other (softmax); else each has its own sigmoid
    """

    output: str
    exclusive: bool

    def probabilities(self, logits: Tensor) -> Tensor:
        """[B, C] in float64."""
        logits = logits.double()
        return logits.softmax(-1) if self.exclusive else logits.sigmoid()

    def value(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """F, and the target's log odds u = log p/(1-p), each [R] and differentiable.

        logits [R, C], target [R]. In double precision: near p = 1 single precision would lose
        most digits of 1 - p.
        """
        logits = logits.double()
        chosen = logits.gather(1, target[:, None]).squeeze(1)
        if self.exclusive and logits.shape[1] > 1:
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
        """dF/du at given log odds; 1 for logits, which are no function of u."""
        if self.output == "probability":
            return odds.sigmoid() * (-odds).sigmoid()
        if self.output == "log-probability":
            return (-odds).sigmoid()
        return torch.ones_like(odds)
