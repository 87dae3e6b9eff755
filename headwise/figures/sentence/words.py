"""The words of an example, each on a ground of its attribution's colour."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from headwise.figures.figure import Source, caption
from headwise.figures.palette import LIGHT
from headwise.figures.sentence.figure import SentenceFigure
from headwise.figures.sentence.layout import ASCENT, Box, lay_out
from headwise.figures.sentence.svg import (
    MARGIN,
    document,
    legend,
    legend_width,
    safe,
    signed,
    word_ground,
    word_text,
)
from headwise.sentences import Sentence, Word

ALL_LAYERS = "read by any head, mean over all layers"
"""The measure of words by `headwise.sentences.mean_over_layers`."""
COLUMNS = ("position", "end", "text", "word", "separator", "attribution")
_LINE, _MOST_NAMED = 27, 3


def words(
    sentence: Sentence,
    measure: str,
    note: str = "",
    sources: Sequence[Source] = (),
) -> SentenceFigure:
    """The words with the attribution of each.

    measure: the meaning of a value, such as `ALL_LAYERS`
    note: a sentence at the end of the caption's explanation
    """
    title = f"Attribution of words {measure}"
    about = _description(sentence)
    how = (
        "Orange words raise the output, blue words lower it; the scale ends at the strongest word "
        "of the text. Small words are separators."
    )
    return SentenceFigure(
        title=title,
        description=about,
        columns=COLUMNS,
        rows=word_rows(sentence),
        caption=caption(title, " ".join(filter(None, (how, note))), sources),
        picture=partial(_draw, sentence, frozenset(), title, about),
    )


def underlined(
    figure: SentenceFigure, sentence: Sentence, numbers: Collection[int]
) -> SentenceFigure:
    """A figure of `words` in which some words, given by number, are underlined."""
    texts = (figure.title, figure.description)
    return replace(figure, picture=partial(_draw, sentence, frozenset(numbers), *texts))


def word_rows(sentence: Sentence) -> list[dict[str, Any]]:
    """The words as rows: tokens from `position` to before `end`, of the first or second text."""
    return [
        {
            "position": word.first,
            "end": word.end,
            "text": word.segment + 1,
            "word": word.text,
            "separator": word.special,
            "attribution": value,
        }
        for word, value in zip(sentence.words, sentence.values, strict=True)
    ]


def written_text(words_: Sequence[Word]) -> str:
    """The words as a text, without separators."""
    own = [word for word in words_ if not word.special]
    return "".join(("" if word.glued else " ") + word.text for word in own).strip()


def _description(sentence: Sentence) -> str:
    """The text, and the words that matter most."""
    values = [
        (value, word.text)
        for word, value in zip(sentence.words, sentence.values, strict=True)
        if not word.special
    ]
    ends = {
        "Most raise": sorted((v for v in values if v[0] > 0), key=lambda v: -v[0]),
        "Most lower": sorted((v for v in values if v[0] < 0), key=lambda v: v[0]),
    }
    named = [
        f"{what}: {', '.join(f'{text} {signed(value)}' for value, text in found[:_MOST_NAMED])}."
        for what, found in ends.items()
        if found
    ]
    return " ".join([f"{written_text(sentence.words)}.", *named])


def _draw(sentence: Sentence, marked: Collection[int], title: str, about: str, width: int) -> str:
    placed = lay_out(sentence.words, width - 2 * MARGIN, line=_LINE, first=ASCENT)
    scale = sentence.scale
    body = [_word(box, sentence.values[box.index], scale, marked) for box in placed.boxes]
    below = placed.height + 12
    size = (max(placed.width, legend_width(scale)) + 2 * MARGIN, below + 12 + 2 * MARGIN)
    moved = f'<g transform="translate({MARGIN} {MARGIN})">'
    content = [moved, *body, legend(scale, 0, below), "</g>"]
    return document("words", title=title, description=about, size=size, body=content)


def _word(box: Box, value: float, scale: float, marked: Collection[int]) -> str:
    line = ""
    if box.index in marked:
        y = box.bottom - 1.5
        line = (
            f'<path class="mark" d="M{box.text_left:.1f},{y:.1f}h{box.text_width:.1f}"'
            f' stroke="{LIGHT.text}" stroke-width="2" stroke-dasharray="3 2"/>'
        )
    ground = word_ground(box, value, scale)
    return (
        f'<g class="word" data-word="{box.index}">'
        f"<title>{safe(box.word.text)}: {signed(value)}</title>"
        f"{ground}{word_text(box, on_colour=bool(ground))}{line}</g>"
    )
