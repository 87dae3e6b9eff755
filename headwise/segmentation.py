"""Words from tokens: which tokens are pieces of one word, and which characters each is made of.

Everything follows from the offsets that a tokenizer reports and from the text itself, so no
tokenizer's marks (`##`, `Ġ`, `▁`, `<0xE6>`) need to be known, and words are shown as they were
written. Needs neither torch nor NumPy.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

_UNSPACED = (
    *("CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "HALFWIDTH KATAKANA ", "THAI ", "LAO "),
    *("KHMER ", "MYANMAR "),
)
"""Beginnings of the Unicode names of characters of scripts that put no spaces between words."""
_JOINER = "\u200d"
_BREAKS = {"\n": "↵", "\r": "↵", "\u2028": "↵", "\u2029": "↵", "\t": "⇥"}
"""White space that is content, and the signs that it is shown as."""


class Span(NamedTuple):
    """The characters start .. end - 1 of one of an example's texts."""

    segment: int
    """0, or 1 for the second text of a pair."""
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """The n tokens of an example as pieces of words.

    word_index: index of the word that each token is a piece of, [n]; ascending
    spans: the characters of each token, [n]; None for special tokens, which are in no text
    """

    word_index: tuple[int, ...]
    spans: tuple[Span | None, ...]

    def word_spans(self) -> tuple[Span | None, ...]:
        """Return the characters of each word; None for special tokens."""
        found: list[Span | None] = []
        for index, span in zip(self.word_index, self.spans, strict=True):
            before = found[index] if index < len(found) else None
            if index == len(found):
                found.append(span)
            elif before is not None and span is not None:
                found[index] = _union(before, span)
        return tuple(found)

    def word_texts(self, texts: Sequence[str], tokens: Sequence[str]) -> tuple[str, ...]:
        """Return each word as written; of a special token, the token."""
        firsts = {word: place for place, word in reversed([*enumerate(self.word_index)])}
        return tuple(
            written(span, texts, tokens[firsts[word]])
            for word, span in enumerate(self.word_spans())
        )


def written(span: Span | None, texts: Sequence[str], token: str) -> str:
    """Return characters as they are shown: without blanks around them, blanks alone as signs.

    token: shown where there are no characters
    """
    if span is None or span.start == span.end:
        return token
    raw = texts[span.segment][span.start : span.end]
    return raw.strip() or "".join(_BREAKS.get(character, "") for character in raw) or "␣"


def segment(
    spans: Sequence[Span | None], word_ids: Sequence[int | None], texts: Sequence[str]
) -> Segmentation:
    """Divide tokens into words.

    A word ends at white space and where the tokenizer's own word ends. In scripts without spaces
    between words, every token is a word. Characters are never divided, nor are letters from
    their marks. Spaces alone belong to the next word; line breaks are words.

    spans: the characters of each token as the tokenizer reports them, None for special tokens
    word_ids: the tokenizer's numbers of words
    """
    plain = all(text.isascii() for text in texts)  # without marks
    whole = tuple(spans) if plain else _with_marks(spans, texts)
    index: list[int] = []
    word: Span | None = None
    number: int | None = None
    for span, own in zip(whole, word_ids, strict=True):
        grown = _joined(texts, word, span, other=own != number)
        index.append((index[-1] if index else -1) + (grown is None))
        word, number = grown or span, own
    return Segmentation(word_index=tuple(index), spans=whole)


def _joined(
    texts: Sequence[str], word: Span | None, span: Span | None, *, other: bool
) -> Span | None:
    """Return a word with one more token; None if the token begins a word."""
    if word is None or span is None or word.segment != span.segment:
        return None
    if _begins(texts[span.segment], word, span, other=other):
        return None
    return _union(word, span)


def _begins(text: str, word: Span, span: Span, *, other: bool) -> bool:
    """Return whether a token begins a word, after another word of the same text.

    other: the tokenizer counts it as a new word
    """
    before, own = text[word.start : word.end], text[span.start : span.end]
    if span.start < word.end or not own:
        return False  # another byte of a character, or no characters at all
    if not before.strip():
        return bool(own.strip()) and any(character in _BREAKS for character in before)
    first = span.start + len(own) - len(own.lstrip())
    between = text[word.start + len(before.rstrip()) : first]
    if first == span.end or (between and between.split() != [between]):
        return True
    last, next_ = before.rstrip()[-1], text[first]
    if last.isascii() and next_.isascii():
        return other
    if is_mark(next_) or last == _JOINER:
        return False
    if is_unspaced(last) or is_unspaced(next_):
        return True
    return other and not (is_mark(last) and next_.isalpha())


def _with_marks(spans: Sequence[Span | None], texts: Sequence[str]) -> tuple[Span | None, ...]:
    """Add the marks after a token that the tokenizer dropped, such as accents that stand alone."""
    found: list[Span | None] = []
    limit = [len(text) for text in texts]
    for span in reversed(spans):
        if span is None:
            found.append(None)
            continue
        segment_, start, end = span
        text = texts[segment_]
        while start < end < limit[segment_] and is_mark(text[end]):
            end += 1
        limit[segment_] = start
        found.append(Span(segment_, start, end))
    return tuple(reversed(found))


def _union(one: Span, other: Span) -> Span:
    return Span(one.segment, min(one.start, other.start), max(one.end, other.end))


@lru_cache(maxsize=4096)
def is_mark(character: str) -> bool:
    """Return whether a character belongs to the one before it: accents, joiners, variants."""
    category = unicodedata.category(character)
    return category.startswith("M") or category == "Cf"


@lru_cache(maxsize=4096)
def is_unspaced(character: str) -> bool:
    """Return whether a character is of a script that puts no spaces between words."""
    return unicodedata.name(character, "").startswith(_UNSPACED)
