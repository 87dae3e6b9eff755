"""The words of an example as they were written, with one value each.

Needs neither torch nor NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from headwise.segmentation import Segmentation, Span, written


@dataclass(frozen=True, kw_only=True)
class Word:
    """Consecutive tokens that are shown as one word."""

    first: int
    """Position of its first token."""
    end: int
    """Position after its last token."""
    text: str
    before: str = " "
    """The text between the word before it and this one."""
    special: bool = False
    """A separator of the tokenizer, like [CLS], and no part of the text."""
    segment: int = 0
    """0 or 1: which of the two texts."""

    @property
    def glued(self) -> bool:
        """Nothing is written before it."""
        return not self.before


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """The words of an example with one value each, which gives them their colours."""

    words: Sequence[Word]
    values: Sequence[float]

    @property
    def scale(self) -> float:
        """The value that gets the strongest colour: the largest |value| of a word of the text."""
        pairs = zip(self.words, self.values, strict=True)
        texts = [abs(value) for word, value in pairs if not word.special]
        return max(texts, default=0.0) or max(map(abs, self.values), default=0.0)


class Piece(NamedTuple):
    """A token as it was written, and the rest of its word."""

    text: str
    before: str = ""
    after: str = ""


def read_words(
    tokens: Sequence[str], texts: Sequence[str], words: Segmentation | None
) -> list[Word]:
    """The words of an example; where they are not known, its tokens as they are."""
    if words is None:
        return [Word(first=i, end=i + 1, text=token) for i, token in enumerate(tokens)]
    found: list[Word] = []
    ends = [0] * len(texts)
    segment = 0
    runs = groupby(range(len(tokens)), key=words.word_index.__getitem__)
    for (_, run), span in zip(runs, words.word_spans(), strict=True):
        first, *rest = run
        end_token = first + 1 + len(rest)
        if span is None:
            found.append(
                Word(first=first, end=end_token, text=tokens[first], special=True, segment=segment)
            )
            continue
        segment, start, end = _trimmed(span, texts)
        apart = " " if found and found[-1].special else ""
        before = texts[segment][ends[segment] : start] or apart
        ends[segment] = end
        text = written(span, texts, tokens[first])
        found.append(Word(first=first, end=end_token, text=text, before=before, segment=segment))
    return found


def words_of_spans(texts: Sequence[str], words: Segmentation) -> list[Word]:
    """The words of an example whose texts are not kept, from the place of each in them.

    texts: the words as they were written
    """
    found: list[Word] = []
    end, segment = -1, 0
    spans = words.word_spans()
    known = any(span is not None for span in spans)
    runs = groupby(range(len(words.word_index)), key=words.word_index.__getitem__)
    for text, span, (_, run) in zip(texts, spans, runs, strict=True):
        first, *rest = run
        end_token = first + 1 + len(rest)
        if span is None:
            found.append(
                Word(first=first, end=end_token, text=text, special=known, segment=segment)
            )
            end = -1
            continue
        # Of a word that a blank belongs to, the text is shorter than its place.
        whole = len(text) >= span.end - span.start
        glued = whole and span.segment == segment and span.start <= end
        segment, _, end = span
        before = "" if glued else " "
        found.append(Word(first=first, end=end_token, text=text, before=before, segment=segment))
    return found


def read_pieces(
    tokens: Sequence[str], texts: Sequence[str], words: Segmentation | None
) -> list[Piece]:
    """The tokens of an example as they were written; where that is not known, as they are."""
    if words is None:
        return [Piece(token) for token in tokens]
    wholes = words.word_spans()
    found = []
    for token, span, word in zip(tokens, words.spans, words.word_index, strict=True):
        text, whole = written(span, texts, token), wholes[word]
        if span is None or whole is None:
            found.append(Piece(text))
            continue
        (segment, low, high), (_, start, end) = _trimmed(whole, texts), _trimmed(span, texts)
        shown = texts[segment]
        found.append(Piece(text, before=shown[low:start], after=shown[end:high]))
    return found


def piece_at(pieces: Sequence[Piece], position: int) -> Piece:
    """The token at a position; its number where tokens were not kept."""
    return pieces[position] if 0 <= position < len(pieces) else Piece(numbered(position))


def numbered(position: int) -> str:
    """The name of a token whose text was not kept: its position."""
    return f"#{position}"


def _trimmed(span: Span, texts: Sequence[str]) -> Span:
    """The span without blanks around it; as it is if it is blank."""
    raw = texts[span.segment][span.start : span.end]
    left, right = len(raw) - len(raw.lstrip()), len(raw.rstrip())
    return Span(span.segment, span.start + left, span.start + right) if right else span


def by_word(words: Sequence[Word], values: Sequence[float]) -> Sentence:
    """The words with the attribution of each: the sum over its tokens; zero without values."""
    sums = [float(sum(values[word.first : word.end])) for word in words]
    return Sentence(words=words, values=sums)


def mean_over_layers(by_site: Sequence[Sequence[float]]) -> list[float]:
    """The attribution of each token over all layers: the mean of those of its sites.

    The attributions of every site alone add up to the change of the output. Their mean does, too;
    their sum would count it once per layer, and grow with the depth of a model.

    by_site: the attribution of each token, of each site; NaN, a site without it, counts as zero
    """
    return [
        sum(value for value in column if not math.isnan(value)) / len(by_site)
        for column in zip(*by_site, strict=True)
    ]


def word_at(words: Sequence[Word], position: int) -> int | None:
    """Index of the word that holds a token."""
    return next((i for i, word in enumerate(words) if word.first <= position < word.end), None)
