"""Guesses at the columns of a data file, from their names and their first values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

PAIRS = (
    *(("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2")),
    *(("question", "sentence"), ("question", "passage"), ("question", "answer")),
    *(("query", "passage"), ("text_a", "text_b"), ("text1", "text2"), ("text", "second")),
)
TEXTS = (
    *("text", "sentence", "content", "review", "tweet", "document", "body", "comment"),
    *("message", "title", "headline", "utterance", "question", "premise"),
)
LABELS = (
    *("label", "labels", "gold_label", "gold", "target", "class", "category", "sentiment"),
    *("answer", "y"),
)
LEAST_WORDS = 1.5
"""Words of the average value of a column that is taken for text, where no name says so."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of texts and labels; empty and None where nothing is known."""

    text_columns: tuple[str, ...]
    label_column: str | None


def guess_columns(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> Columns:
    """Guess which columns have the texts and the gold labels, from the first rows."""
    known = {name.strip().casefold(): name for name in reversed(columns)}
    texts = _named_texts(known) or _longest(columns, rows)
    rest = [name for name in columns if name not in texts]
    named = next((known[one] for one in LABELS if known.get(one) in rest), None)
    return Columns(text_columns=texts, label_column=named or _repeated(rest, rows))


def _named_texts(known: Mapping[str, str]) -> tuple[str, ...]:
    for pair in PAIRS:
        if all(one in known for one in pair):
            return known[pair[0]], known[pair[1]]
    return next(((known[one],) for one in TEXTS if one in known), ())


def _longest(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """The column whose values have the most words, if they are texts."""
    words = {
        name: fmean([len(str(row.get(name) or "").split()) for row in rows] or [0])
        for name in columns
    }
    best = max(words, key=words.__getitem__, default="")
    return (best,) if words.get(best, 0.0) >= LEAST_WORDS else ()


def _repeated(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> str | None:
    """The only column of one word or a whole number whose few values come again."""
    found = []
    for name in columns:
        values = [row.get(name) for row in rows]
        short = all(
            isinstance(one, int) or (isinstance(one, str) and len(one.split()) == 1)
            for one in values
        )
        if short and 2 <= len(set(values)) <= len(values) / 2:
            found.append(name)
    return found[0] if len(found) == 1 else None
