"""Encoding texts to token ids, one example at a time, and padding batches of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from headwise.errors import FAILURES, OptionError, TokenizerError, first_line
from headwise.models.inputs import (
    check_inputs,
    check_token_types,
    check_vocabulary,
    takes_token_types,
)
from headwise.replay.probes import token_id
from headwise.segmentation import Segmentation, Span, segment

Text = str | tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One example as model inputs, without padding.

    ids: token ids, including special tokens
    token_types: segment ids, or None if the model has none
    tokens: the tokens as strings, as many as ids
    word_index: index of the word that each token is a piece of, as many as ids
    word_texts: the words as in the text; a special token is a word of its own
    token_spans: characters of the text that each token is made of, as many as ids; None for special
        tokens, and for all tokens of a tokenizer without offsets
    truncated: the text was longer than the limit
    """

    ids: tuple[int, ...]
    token_types: tuple[int, ...] | None = None
    tokens: tuple[str, ...] = ()
    word_index: tuple[int, ...] = ()
    word_texts: tuple[str, ...] = ()
    token_spans: tuple[Span | None, ...] = ()
    truncated: bool = False

    @property
    def words(self) -> Segmentation:
        """The tokens as pieces of words."""
        return Segmentation(word_index=self.word_index, spans=self.token_spans)


def length_limit(model: PreTrainedModel) -> int | None:
    """Return the number of tokens that a model has positions for, if it has a limit."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "weight"):
            # RoBERTa counts positions from padding_idx + 1.
            padding: int | None = getattr(module, "padding_idx", None)
            return len(module.weight) - (0 if padding is None else padding + 1)
    names = ("max_position_embeddings", "max_seq_len")  # the second is MPT's
    limits = (getattr(model.config.get_text_config(), name, None) for name in names)
    return next((int(limit) for limit in limits if limit), None)


def encode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    max_length: int | None,
) -> list[Encoded]:
    """Tokenize single texts or pairs, truncated to ``max_length`` or the limit of the model.

    Raises OptionError for anything but strings or pairs of strings, and for a ``max_length`` that
    exceeds the limit of the model or leaves no room for text.
    """
    limit = effective_limit(model, tokenizer, max_length)
    typed = takes_token_types(model, tokenizer)
    check_inputs(model, tokenizer, limit)
    encoded = []
    for index, text in enumerate(texts):
        parts = _parts(index, text)
        whole, truncated = _tokenized(index, tokenizer, parts, limit)
        ids = tuple(int(token) for token in whole["input_ids"])
        if not ids:
            raise TokenizerError(f"the tokenizer gives no tokens for texts[{index}], {text!r:.80}")
        check_vocabulary(model, ids)
        types = whole["token_type_ids"] if typed else None
        if types is not None:
            check_token_types(model, types)
        tokens = tuple(str(token) for token in tokenizer.convert_ids_to_tokens(list(ids)))
        words = _segmentation(whole, parts)
        encoded.append(
            Encoded(
                ids=ids,
                token_types=None if types is None else tuple(int(kind) for kind in types),
                tokens=tokens,
                word_index=words.word_index,
                word_texts=words.word_texts(parts, tokens),
                token_spans=words.spans,
                truncated=truncated,
            )
        )
    return encoded


def _tokenized(
    index: int, tokenizer: PreTrainedTokenizerBase, parts: Sequence[str], limit: int | None
) -> tuple[BatchEncoding, bool]:
    """The tokens of a text, and whether they were truncated to the limit."""
    truncation = {"truncation": "longest_first", "max_length": limit}
    try:
        if tokenizer.is_fast and limit is not None:
            whole = tokenizer(*parts, **truncation)
            return whole, bool(whole.encodings[0].overflowing)
        # verbose=False: no warning about a length that is truncated below.
        whole = tokenizer(*parts, verbose=False)
        if limit is None or len(whole["input_ids"]) <= limit:
            return whole, False
        return tokenizer(*parts, **truncation), True
    except FAILURES as error:
        raise TokenizerError(
            f"the tokenizer ({type(tokenizer).__name__}) cannot read texts[{index}]: "
            f"{first_line(error)}; choose a model whose tokenizer reads plain texts"
        ) from error


def from_arrays(inputs: Sequence[Mapping[str, Any]]) -> list[Encoded]:
    """Make examples from mappings of one-dimensional ``input_ids`` and other inputs.

    Positions after the last one with ``attention_mask`` 1 are dropped as padding.
    """
    encoded = []
    for index, example in enumerate(inputs):
        ids = [int(token) for token in example["input_ids"]]
        mask = [int(bit) for bit in example.get("attention_mask", [1] * len(ids))]
        n = sum(mask)
        if n == 0 or any(bit != 1 for bit in mask[:n]):
            raise OptionError(f"input {index}: attention_mask must be ones, then zeros as padding")
        types = example.get("token_type_ids")
        tokens = tuple(str(token) for token in ids[:n])
        encoded.append(
            Encoded(
                ids=tuple(ids[:n]),
                token_types=None if types is None else tuple(int(kind) for kind in types[:n]),
                tokens=tokens,
                word_index=tuple(range(n)),
                word_texts=tokens,
                token_spans=(None,) * n,
            )
        )
    return encoded


def _segmentation(encoding: BatchEncoding, parts: Sequence[str]) -> Segmentation:
    """The words of a text, from the offsets of a fast tokenizer.

    A tokenizer written in Python has no offsets: every token is then a word.
    """
    if not encoding.is_fast:
        n = len(encoding["input_ids"])
        return Segmentation(word_index=tuple(range(n)), spans=(None,) * n)
    (found,) = encoding.encodings
    ends = [0] * len(parts)
    spans: list[Span | None] = []
    for sequence, (start, end) in zip(found.sequence_ids, found.offsets, strict=True):
        if sequence is None:
            spans.append(None)
            continue
        # A token without characters is where the one before it ends.
        at = ends[sequence]
        spans.append(Span(sequence, start, end) if start < end else Span(sequence, at, at))
        ends[sequence] = max(at, end)
    return segment(spans, found.word_ids, parts)


def pad(examples: Sequence[Encoded], pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """Make a batch, padded on the right, on a device; each tensor is int64 [B, n]."""
    n = max(len(example.ids) for example in examples)

    def stack(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        whole = torch.tensor([[*row, *[fill] * (n - len(row))] for row in rows])
        # A GPU copies pinned memory while it computes.
        if device.type == "cuda":
            whole = whole.pin_memory()
        return whole.to(device, non_blocking=True)

    batch = {
        "input_ids": stack([example.ids for example in examples], pad_id),
        "attention_mask": stack([[1] * len(example.ids) for example in examples], 0),
    }
    types = [example.token_types for example in examples]
    if all(kinds is not None for kinds in types):
        batch["token_type_ids"] = stack([kinds for kinds in types if kinds is not None], 0)
    return batch


def pad_id(model: PreTrainedModel) -> int:
    """Return the token id for padding, which is masked."""
    return token_id(model, "pad_token_id") or 0


def _parts(index: int, text: object) -> tuple[str, ...]:
    if isinstance(text, str):
        return (text,)
    if (
        isinstance(text, tuple | list)
        and len(text) == 2
        and all(isinstance(part, str) for part in text)
    ):
        return tuple(text)
    raise OptionError(f"texts[{index}] must be a string or a pair of strings, not {text!r:.80}")


def effective_limit(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None
) -> int | None:
    """Return the number of tokens, including special ones, that texts are truncated to.

    Raises OptionError as ``encode`` does.
    """
    limit = length_limit(model)
    if max_length is None:
        # Tokenizers without a limit report an astronomically large one.
        bounds = [b for b in (limit, tokenizer.model_max_length) if b is not None and b < 10**9]
        return min(bounds) if bounds else None
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if max_length <= special:
        raise OptionError(
            f"max_length {max_length} leaves no room for text: a pair has {special} special tokens"
        )
    if limit is not None and max_length > limit:
        raise OptionError(f"max_length {max_length} is more than the model's limit of {limit}")
    return max_length
