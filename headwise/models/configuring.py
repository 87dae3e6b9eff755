"""Configurations that are made to run here, without a change to the model's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import PreTrainedTokenizerBase

from headwise.errors import FAILURES


def settle(config: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Mend the settings of a configuration that are about its surroundings.

    Outputs are objects with names, even where ``return_dict`` is false. The implementation of
    attention is chosen here, as the one that the configuration names may not be installed. A
    padding token that is missing, negative or without an embedding is replaced, since batches need
    one.

    BigBird's attention is full: transformers computes it so from the first text of at most 704
    tokens on, however long the texts after it are.
    """
    config.return_dict = True
    if config.model_type == "big_bird":
        config.attention_type = "original_full"
    config._attn_implementation = None
    inner = config.get_text_config()
    size = int(getattr(inner, "vocab_size", 0) or 0)
    given = getattr(inner, "pad_token_id", None)
    if size and not (isinstance(given, int) and 0 <= given < size):
        found = next(one for one in _padding(inner, tokenizer, size) if 0 <= one < size)
        config.pad_token_id = inner.pad_token_id = found


def _padding(config: Any, tokenizer: PreTrainedTokenizerBase, size: int) -> Iterator[int]:
    """Tokens for padding, best first.

    Classifiers of decoders look at the last token that is not padding, so it must be one that no
    text ends with: the tokenizer's own, one that the tokenizer does not have, or a special one that
    the tokenizer does not put at the end.
    """
    if tokenizer.pad_token_id is not None:
        yield int(tokenizer.pad_token_id)
    if len(tokenizer) < size:
        yield size - 1
    try:
        last = tokenizer("a", verbose=False)["input_ids"][-1:]
    except FAILURES:
        last = []  # its texts are refused with the reason
    special = [tokenizer.eos_token_id, *tokenizer.all_special_ids]
    yield from (int(one) for one in special if one is not None and one not in last)
    yield from (one for one in range(size) if one not in last)
