"""Other outputs of a model as classes, so that they can be attributed like those of a classifier.

``attribute`` takes these in place of a model. They hold the model and change nothing in it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from headwise.errors import OptionError

# Softmax gives e^-40, less than the rounding of 1 in double precision, to what cannot be chosen.
_NEVER = 40.0


class _Headed(nn.Module):
    """A model with classes of another kind than its own: logits [B, C] from its output."""

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
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **types)
        return SequenceClassifierOutput(logits=self.classes(output, attention_mask))

    def classes(self, output: object, mask: Tensor) -> Tensor:
        raise NotImplementedError


class NextToken(_Headed):
    """A causal language model as a classifier of the token that follows the text.

    tokens: the candidates, each one token of the tokenizer (mind the blank before a word). A last
        class, "other", is all other tokens together, so that a class's probability is the one
        that the language model gives.

    All positions' logits over the vocabulary are computed, though the last alone is used; with a
    large vocabulary that, and not the attention, sets how many rows fit into a pass.

    Raises OptionError for a candidate that is not one token.
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


class AnswerPosition(_Headed):
    """A question answering model as a classifier of the token at which the answer starts or ends.

    The classes are the positions "0", "1", ...; the logit of one is the model's start or end logit.

    which: ``start`` or ``end``
    positions: number of classes; longer texts are to be cut to as many tokens by ``max_length``

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
        least = logits.masked_fill(hidden, float("inf")).amin(1, keepdim=True).detach() - _NEVER
        logits = torch.where(hidden, least, logits)
        missing = self.positions - logits.shape[1]
        return torch.cat([logits, least.expand(-1, missing)], 1)
