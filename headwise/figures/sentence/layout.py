"""Places of words in lines: broken at a width, from the left or the right."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from headwise.figures.sentence.measuring import monospaced_width, shortened, text_width
from headwise.segmentation import is_unspaced
from headwise.sentences import Word

SIZE, SMALL = 15, 10.5
"""Pixels of the letters of words, and of separators."""
ASCENT, DESCENT = 14, 5
"""Pixels of a word's box above and below the base line."""
_PAD, _GAP, _GLUED_PAD = 3.5, 2.0, 0.4


@dataclass(frozen=True, kw_only=True)
class Box:
    """A word at its place; all lengths are in pixels."""

    index: int
    """The number of the word."""
    word: Word
    text: str
    """The word, shortened if it is wider than a line."""
    left: float
    width: float
    """Of its box, which may touch the next one."""
    text_left: float
    text_width: float
    base: float
    """The base line."""
    backwards: bool
    """It is part of a text that runs from the right to the left."""

    @property
    def middle(self) -> float:
        """The middle of its letters."""
        return self.text_left + self.text_width / 2

    @property
    def top(self) -> float:
        """The upper end of its box."""
        return self.base - ASCENT

    @property
    def bottom(self) -> float:
        """The lower end of its box."""
        return self.base + DESCENT


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Words in lines."""

    boxes: tuple[Box, ...]
    """By the number of the word."""
    width: float
    height: float


@dataclass(frozen=True)
class _Item:
    """A word that has a width and no place yet."""

    index: int
    word: Word
    text: str
    letters: float
    """The width of the text."""
    before: float
    """The space inside its box at its beginning."""
    after: float

    @property
    def width(self) -> float:
        return self.before + self.letters + self.after


def lay_out(words: Sequence[Word], width: float, *, line: float, first: float) -> Layout:
    """Lines of words; the two texts of a pair are paragraphs of their own.

    width: pixels that a line has at most
    line: pixels from one base line to the next
    first: the first base line
    """
    items = _items(words, width)
    base, rows = first, []
    for _, paragraph in groupby(items, key=lambda item: item.word.segment):
        own = list(paragraph)
        backwards = _runs_backwards([one.word for one in own if not one.word.special])
        for row in _lines(own, width):
            rows.append((row, base, backwards))
            base += line
        base += line / 4
    across = max((_extent(row) for row, _, _ in rows), default=0.0)
    boxes = [box for row, at, backwards in rows for box in _placed(row, at, across, backwards)]
    last = max((box.bottom for box in boxes), default=first)
    return Layout(boxes=tuple(sorted(boxes, key=lambda box: box.index)), width=across, height=last)


def _items(words: Sequence[Word], width: float) -> list[_Item]:
    joined = [
        index > 0 and word.glued and word.segment == words[index - 1].segment
        for index, word in enumerate(words)
    ]
    found = []
    for index, word in enumerate(words):
        text = shortened(word.text, width - 2 * _PAD, SIZE)
        letters = monospaced_width(text, SMALL) if word.special else text_width(text, SIZE)
        after = index + 1 < len(words) and joined[index + 1]
        pads = (_GLUED_PAD if one else _PAD for one in (joined[index], after))
        found.append(_Item(index, word, text, letters, *pads))
    return found


def _lines(items: Sequence[_Item], width: float) -> Iterator[list[_Item]]:
    """Break a paragraph: between words, and between those of scripts without spaces."""
    row: list[_Item] = []
    for group in _unbroken(items):
        if row and _extent([*row, *group]) > width:
            yield row
            row = []
        for item in group:  # a group that is too long for a line is broken anywhere
            if row and _extent([*row, item]) > width:
                yield row
                row = []
            row.append(item)
    if row:
        yield row


def _unbroken(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Runs of words that stay together, such as a word and its comma."""
    run = list(items[:1])
    for before, item in pairwise(items):
        if _is_joined(before, item) and not _may_break(before.word.text, item.word.text):
            run.append(item)
        else:
            yield run
            run = [item]
    if run:
        yield run


def _may_break(before: str, after: str) -> bool:
    return after[:1].isalnum() and (is_unspaced(before[-1:]) or is_unspaced(after[:1]))


def _is_joined(before: _Item, item: _Item) -> bool:
    return before.index + 1 == item.index and item.before == _GLUED_PAD


def _extent(row: Sequence[_Item]) -> float:
    gaps = sum(0.0 if _is_joined(*two) else _GAP for two in pairwise(row))
    return sum(item.width for item in row) + gaps


def _placed(row: Sequence[_Item], base: float, across: float, backwards: bool) -> Iterator[Box]:
    """Place a line; one that runs from the right ends at the right."""
    left = across - _extent(row) if backwards else 0.0
    before: _Item | None = None
    for item, own in _visual(row, backwards):
        if before is not None and not (_is_joined(before, item) or _is_joined(item, before)):
            left += _GAP
        yield Box(
            index=item.index,
            word=item.word,
            text=item.text,
            left=left,
            width=item.width,
            text_left=left + (item.after if own else item.before),
            text_width=item.letters,
            base=base,
            backwards=own,
        )
        left += item.width
        before = item


def _visual(row: Sequence[_Item], backwards: bool) -> list[tuple[_Item, bool]]:
    """The words of a line from the left to the right, and which of them run backwards.

    Runs of words of the other direction keep their own order, as in Unicode's algorithm.
    """
    ways = [_way(item.word) for item in row]
    known = [index for index, way in enumerate(ways) if way is not None]
    for one, other in pairwise(known):
        if ways[one] == ways[other]:
            ways[one:other] = [ways[one]] * (other - one)
    found: list[tuple[_Item, bool]] = []
    for own, run in groupby(
        zip(row, ways, strict=True), key=lambda two: backwards if two[1] is None else two[1]
    ):
        items = [(item, own) for item, _ in run]
        items = items[::-1] if own else items
        found = [*items, *found] if backwards else [*found, *items]
    return found


def _runs_backwards(words: Sequence[Word]) -> bool:
    """The direction of a text: that of its first letter that has one."""
    return next((way for word in words if (way := _way(word)) is not None), False)


def _way(word: Word) -> bool | None:
    """True for a word from the right to the left; None for signs, digits and separators."""
    if word.special:
        return None
    for character in word.text:
        kind = unicodedata.bidirectional(character)
        if kind in ("L", "R", "AL"):
            return kind != "L"
    return None
