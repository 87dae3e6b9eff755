"""A job's texts against its model, before a worker sees them: tokenizer, token types, lengths."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager

from headwise.errors import TokenizerError
from jobs.errors import refuse
from jobs.formatting import counted
from jobs.inputs.data.examples import Rows, allowed_path
from jobs.inputs.data.rows import LongText, Summary
from jobs.inputs.models.configuration import ModelFacts, unfit
from jobs.inputs.models.tokenizing import TextError, Tried, count_longer, try_file
from jobs.settings import Settings
from jobs.specs.base import JobSpec

MOST_COUNTED, MOST_CHARACTERS = 20_000, 4_000_000
"""Texts whose tokens are counted, those of most characters first, and their characters together."""


def try_texts(
    spec: JobSpec,
    facts: ModelFacts,
    settings: Settings,
    data: Summary,
    rows: Callable[[], AbstractContextManager[Rows]],
) -> list[str]:
    """Tokenize the longest texts of the data, in a process of its own; return notes in words.

    rows: reads the data, if there are texts that are too long

    Raises InputError for a text that the model's tokenizer fails on, and for pairs that the model
    has no token type for. Tokenizers that are not one file of JSON are tried by workers only, and
    so are all other texts.
    """
    if not spec.model.is_local:
        return []
    path = allowed_path("model.name", spec.model.name, settings) / "tokenizer.json"
    if not path.is_file():
        return []
    texts = list(data.longest)

    def read() -> list[tuple[str, ...]]:
        with rows() as found:
            texts[:] = _longest_first(found)
        return [one.parts for one in texts]

    try:
        tried = try_file(path, [one.parts for one in texts])
        _check_token_types(spec, facts, tried)
        limit = spec.max_length or facts.truncated_to
        if limit is None or max(tried.lengths, default=0) <= limit:
            return []
        longer, all_longer = count_longer(path, limit, data.fingerprint, read)
    except TextError as error:
        one = texts[error.index]
        raise refuse(
            "data.text_columns",
            one.parts[0][:200],
            f"{one.place}: {error}",
            "Leave the row out, or choose another model.",
        ) from None
    except TokenizerError as error:
        raise unfit(spec.model, error) from None
    number = f"at least {longer:,}" if all_longer and longer < data.examples else f"{longer:,}"
    has = "has" if longer == 1 else "have"
    about = "max_length" if spec.max_length else "the model's limit"
    return [
        f"{number} of {counted(data.examples, 'text')} {has} more than {limit:,} tokens ({about}); "
        "the rest is cut off"
    ]


def _check_token_types(spec: JobSpec, facts: ModelFacts, tried: Tried) -> None:
    """Raise InputError for a token type without an embedding, see `ModelFiles.token_types`."""
    if facts.token_types is None or tried.largest_type < facts.token_types:
        return
    raise refuse(
        "data.text_columns",
        ", ".join(spec.data.text_columns),
        f"are two texts, whose tokenizer gives token type {tried.largest_type}, but the model has "
        f"only {counted(facts.token_types, 'token type')} (type_vocab_size)",
        "Give one text column, or choose a model that was trained on pairs.",
    )


def _longest_first(data: Rows) -> list[LongText]:
    """The texts of most characters, within limits."""
    sizes = (sum(map(len, row.texts)) for row in data.rows)
    ranked = heapq.nlargest(MOST_COUNTED, zip(sizes, itertools.count(0, -1), strict=False))
    totals = itertools.accumulate(size for size, _ in ranked)
    chosen = [
        -row for (_, row), total in zip(ranked, totals, strict=True) if total <= MOST_CHARACTERS
    ]
    wanted = set(chosen)
    found = {
        number: LongText(row.place, row.texts)
        for number, row in enumerate(data.rows)
        if number in wanted
    }
    return [found[number] for number in chosen]
