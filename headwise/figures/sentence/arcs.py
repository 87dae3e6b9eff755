"""The strongest pairs of an example, as arcs over its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from headwise.figures.figure import Source, caption
from headwise.figures.sentence.figure import SentenceFigure
from headwise.figures.sentence.layout import ASCENT, Box, lay_out
from headwise.figures.sentence.svg import MARGIN, coloured, document, safe, signed, word_text
from headwise.figures.sentence.words import written_text
from headwise.sentences import Word

COLUMNS = ("rank", "query", "key", "query_word", "key_word", "head", "attribution", "attention")
_LINE, _LIFT = 56, 34
_TOUCH = 3
"""Pixels between a word and the tip of an arrow."""
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A strong cell: the head reads `key` from `query`, which are numbers of words."""

    rank: int
    query: int
    key: int
    head: str
    attribution: float
    attention: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Route:
    path: str
    dot: tuple[float, float]
    tip: tuple[float, float]
    up: bool = False
    """The arrow points up."""


def arcs(
    words: Sequence[Word], pairs: Sequence[Pair], sources: Sequence[Source] = ()
) -> SentenceFigure:
    """The words with an arc for every pair, from the word that is read to the one that reads it."""
    title = "Strongest pairs"
    about = _description(words, pairs)
    how = (
        "An arc runs from the word that is read (dot) to the word that reads it (arrow); thicker "
        "arcs are stronger. Orange raises the output, blue lowers it."
    )
    rows = [
        {
            "rank": pair.rank,
            "query": words[pair.query].text,
            "key": words[pair.key].text,
            "query_word": pair.query,
            "key_word": pair.key,
            "head": pair.head,
            "attribution": pair.attribution,
            "attention": pair.attention,
        }
        for pair in pairs
    ]
    return SentenceFigure(
        title=title,
        description=about,
        columns=COLUMNS,
        rows=rows,
        caption=caption(title, how, sources),
        picture=partial(_draw, tuple(words), tuple(pairs), title, about),
    )


def _description(words: Sequence[Word], pairs: Sequence[Pair]) -> str:
    named = "; ".join(_named(words, pair) for pair in pairs[:_MOST_NAMED])
    return f"{written_text(words)}. {named}."


def _named(words: Sequence[Word], pair: Pair) -> str:
    ends = f"{words[pair.query].text} reads {words[pair.key].text}"
    return f"{ends}, {pair.head}: {signed(pair.attribution)}"


def _draw(words: Sequence[Word], pairs: Sequence[Pair], title: str, about: str, width: int) -> str:
    placed = lay_out(words, width - 2 * MARGIN, line=_LINE, first=ASCENT + _LIFT)
    top = max((abs(pair.attribution) for pair in pairs), default=0.0) or 1.0
    lines = [
        _arc(words, pair, _route(placed.boxes[pair.key], placed.boxes[pair.query], pair.rank), top)
        for pair in pairs
    ]
    texts = [
        f'<g class="word" data-word="{box.index}"><title>{safe(box.word.text)}</title>'
        f"{word_text(box, halo=True)}</g>"
        for box in placed.boxes
    ]
    size = (placed.width + 2 * MARGIN, placed.height + 2 * MARGIN)
    moved = f'<g transform="translate({MARGIN} {MARGIN})">'
    content = [moved, *lines, *texts, "</g>"]
    return document("arcs", title=title, description=about, size=size, body=content)


def _arc(words: Sequence[Word], pair: Pair, route: _Route, top: float) -> str:
    strength = abs(pair.attribution) / top
    x, y = route.dot
    end = coloured(pair.attribution, "fill")
    return (
        f'<g class="arc" data-edge="{pair.rank}" data-query="{pair.query}" data-key="{pair.key}">'
        f"<title>{safe(_named(words, pair))}</title>"
        f'<path d="{route.path}" fill="none" {coloured(pair.attribution, "stroke")}'
        f' stroke-width="{1 + 3.5 * strength:.2f}" stroke-opacity="{0.45 + 0.5 * strength:.2f}"'
        ' stroke-linecap="round"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" {end}/>'
        f'<path d="{_arrow(*route.tip, up=route.up)}" {end}/></g>'
    )


def _route(key: Box, query: Box, place: int) -> _Route:
    """The way from one word to another: above their line, else between their lines.

    place: arcs between the same words are moved apart by it
    """
    if key.index == query.index:
        x, y = key.middle, key.top
        path = f"M{x - 5:.1f},{y:.1f} C{x - 16:.1f},{y - 24:.1f} {x + 16:.1f},{y - 24:.1f}"
        return _Route(path=f"{path} {x + 5:.1f},{y - _TOUCH:.1f}", dot=(x - 5, y), tip=(x + 5, y))
    shift = 2 * (place % 3 - 1)
    start, stop = key.middle + shift, query.middle + shift
    if key.base == query.base:
        y = key.top
        high = y - min(_LIFT - 4, 10 + abs(stop - start) * 0.09) * 4 / 3
        path = f"M{start:.1f},{y:.1f} C{start:.1f},{high:.1f} {stop:.1f},{high:.1f}"
        return _Route(path=f"{path} {stop:.1f},{y - _TOUCH:.1f}", dot=(start, y), tip=(stop, y))
    down = query.base > key.base
    first, last = (key.bottom, query.top) if down else (key.top, query.bottom)
    bend = (last - first) / 2
    path = f"M{start:.1f},{first:.1f} C{start:.1f},{first + bend:.1f}"
    path += f" {stop:.1f},{last - bend:.1f} {stop:.1f},{last + (-_TOUCH if down else _TOUCH):.1f}"
    return _Route(path=path, dot=(start, first), tip=(stop, last), up=not down)


def _arrow(x: float, y: float, *, up: bool) -> str:
    sign = -1 if up else 1
    return f"M{x:.1f},{y + sign:.1f} l-3.8,{-6 * sign} h7.6 z"
