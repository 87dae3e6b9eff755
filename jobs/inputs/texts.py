"""A job's texts against its model, before a worker sees them: tokenizer, token types, lengths."""

from __future__ import annotations

from collections.abc import Callable

from headwise.errors import TokenizerError
from jobs.errors import refuse
from jobs.formatting import counted
from jobs.inputs.data import Rows, allowed_path
from jobs.inputs.models import ModelFacts, unfit
from jobs.inputs.summary import LongText, Summary
from jobs.inputs.tokenizing import TextError, Tried, count_longer, try_file
from jobs.settings import Settings
from jobs.specs.base import JobSpec

MOST_COUNTED, MOST_CHARACTERS = 20_000, 20_000_000
"""Texts whose tokens are counted, those of most characters first, and their characters together."""


def try_texts(
    spec: JobSpec,
    facts: ModelFacts,
    settings: Settings,
    data: Summary,
    rows: Callable[[], Rows],
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
        texts[:] = _longest_first(rows())
        return [one.parts for one in texts]

    try:
        tried = try_file(path, [one.parts for one in texts])
        _check_token_types(spec, facts, tried)
        limit = spec.max_length or facts.truncated_to
        if limit is None or max(tried.lengths, default=0) <= limit:
            return []
        longer = count_longer(path, limit, data.fingerprint, read)
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
    number = f"{longer:,}" if longer < MOST_COUNTED else f"at least {longer:,}"
    has = "has" if longer == 1 else "have"
    about = "max_length" if spec.max_length else "all that the model takes"
    return [
        f"{number} of {counted(data.examples, 'text')} {has} more than {limit:,} tokens ({about}); "
        "what is beyond is cut off"
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


def _longest_first(rows: Rows) -> list[LongText]:
    """The texts of most characters, within limits."""
    second = rows.text_b or [""] * len(rows)
    sizes = [len(a) + len(b) for a, b in zip(rows.text_a, second, strict=True)]
    found: list[LongText] = []
    left = MOST_CHARACTERS
    for row in sorted(range(len(rows)), key=sizes.__getitem__, reverse=True)[:MOST_COUNTED]:
        left -= sizes[row]
        if left >= 0:
            parts = (rows.text_a[row], *(second[row : row + 1] if rows.text_b else ()))
            found.append(LongText(place=rows.places[row], parts=parts))
    return found
