"""Results as self-contained HTML: for notebooks, and as complete pages.

Colours are translucent over the background and text keeps the colour of the page, so both are
readable on light and dark pages. Every colour comes with its number as text. Texts, labels and
module names are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headwise.figures import Source
from headwise.figures import sentence as figures
from headwise.figures.palette import LIGHT, channels
from headwise.figures.sentence import SentenceFigure
from headwise.naming import head_name
from headwise.replay import Site
from headwise.sentences import Sentence, Word, mean_over_layers
from headwise.wordpieces import Words

_RAISES, _LOWERS = (", ".join(map(str, channels(one))) for one in (LIGHT.raises, LIGHT.lowers))
_STRONGEST = 0.45  # opacity; black and white text keep a contrast of at least 4.5:1 on it

_STYLE = """
.headwise { font: 14px/1.5 system-ui, sans-serif; color: inherit; }
.headwise table { border-collapse: collapse; margin: 0.5em 0 1em; }
.headwise caption { text-align: left; font-weight: 600; padding-bottom: 0.25em; }
.headwise th, .headwise td { padding: 0.15em 0.5em; text-align: right; background: none;
  border: 1px solid rgba(128, 128, 128, 0.4); font-variant-numeric: tabular-nums;
  print-color-adjust: exact; }
.headwise th { font-weight: 500; }
.headwise .text { text-align: left; }
.headwise figure { margin: 0.5em 0; }
.headwise svg { max-width: 100%; height: auto; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A piece of HTML with its style sheet; a notebook displays it, ``save`` makes a page of it."""

    title: str
    body: str

    def _repr_html_(self) -> str:
        return f'<div class="headwise"><style>{_STYLE}</style>{self.body}</div>'

    def save(self, path: str | Path) -> None:
        """Write a complete page in UTF-8."""
        page = _PAGE.format(title=escape(self.title), body=self._repr_html_())
        Path(path).write_text(page, encoding="utf-8")


class Pair(Protocol):
    """One cell of the attribution of a head, between words or between tokens."""

    @property
    def site(self) -> Site: ...
    @property
    def head(self) -> int: ...
    @property
    def query(self) -> int: ...
    @property
    def key(self) -> int: ...
    @property
    def value(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The content of one example's section; of a failed example, ``error`` alone.

    example: its number
    prediction: in words, with its probability
    target: the name of what is attributed
    words: with their attribution
    written: the same words as they are drawn
    head: the site and number of the head that colours the words; by default all do
    pairs: the strongest, strongest first; query and key index ``texts``
    places: the number of the word of each of ``texts``
    unit: ``words`` or ``tokens``, the elements of ``texts``
    """

    example: int
    error: str | None = None
    prediction: str = ""
    target: str = ""
    words: Words | None = None
    written: Sequence[Word] = ()
    head: tuple[Site, int] | None = None
    pairs: Sequence[Pair] = ()
    texts: Sequence[str] = ()
    places: Sequence[int] = ()
    unit: str = "words"


def section(shown: Explanation) -> str:
    """One example: prediction, words and strongest pairs, or its error."""
    title = f"<p><strong>Example {shown.example}</strong>"
    if shown.error is not None:
        return f"{title} failed: {escape(shown.error)}</p>"
    prediction = f" {escape(shown.prediction)}, attributed {escape(shown.target)}</p>"
    assert shown.words is not None
    drawn = words_figure(shown)
    table = f"<details><summary>Words as a table</summary>{drawn.table()}</details>"
    return f"{title}{prediction}{drawn._repr_html_()}{table}{_pairs(shown, shown.words.sites)}"


def heat_map(caption: str, sites: Sequence[Site], values: NDArray[np.floating]) -> str:
    """A table of values by site and head, [S, H]; NaN where a site has no such head."""
    largest = _largest(values)
    several = len({site.attention_type for site in sites}) > 1
    heads = "".join(f'<th scope="col">{head}</th>' for head in range(values.shape[1]))
    rows = []
    for site, row in zip(sites, values, strict=True):
        name = _layer(site, several)
        cells = "".join(
            f'<td style="{_colour(value, largest)}">{_number(value)}</td>' for value in row.tolist()
        )
        rows.append(
            f'<tr><th scope="row" title="{escape(site.name)}">{escape(name)}</th>{cells}</tr>'
        )
    return (
        f"<table><caption>{escape(caption)}, by layer (rows) and head (columns)</caption>"
        f'<thead><tr><th scope="col">layer</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def words_figure(shown: Explanation) -> SentenceFigure:
    """Every word, coloured by its attribution as a key: of one head, or of all over all layers."""
    assert shown.words is not None
    if shown.head is None or shown.words.by_head is None:
        measure = figures.ALL_LAYERS
        values = mean_over_layers(shown.words.attribution.astype(np.float64).tolist())
    else:
        site, number = shown.head
        measure = f"read by head {head_name(site.layer, number, site.attention_type)}"
        values = shown.words.by_head[site.index, number].astype(np.float64).tolist()
    sentence = Sentence(words=shown.written, values=values)
    return figures.words(sentence, measure, sources=[Source(example=shown.example)])


def arcs_figure(shown: Explanation) -> SentenceFigure:
    """The strongest pairs over the words."""
    pairs = [
        figures.Pair(
            rank=rank,
            query=shown.places[pair.query],
            key=shown.places[pair.key],
            head=head_name(pair.site.layer, pair.head, pair.site.attention_type),
            attribution=pair.value,
        )
        for rank, pair in enumerate(shown.pairs, 1)
    ]
    return figures.arcs(shown.written, pairs, [Source(example=shown.example)])


def _pairs(shown: Explanation, sites: Sequence[Site]) -> str:
    """A table of the strongest pairs; nothing without any."""
    if not shown.pairs:
        return ""
    largest = _largest(np.array([pair.value for pair in shown.pairs]))
    several = len({site.attention_type for site in sites}) > 1
    rows = "".join(
        f'<tr><td class="text">{escape(shown.texts[pair.query])}</td>'
        f'<td class="text">{escape(shown.texts[pair.key])}</td>'
        f"<td>{escape(_layer(pair.site, several))}</td><td>{pair.head}</td>"
        f'<td style="{_colour(pair.value, largest)}">{_number(pair.value)}</td></tr>'
        for pair in shown.pairs
    )
    return (
        f"{arcs_figure(shown)._repr_html_()}"
        f"<table><caption>Strongest pairs of {shown.unit}</caption>"
        '<thead><tr><th scope="col" class="text">query</th><th scope="col" class="text">key</th>'
        '<th scope="col">layer</th><th scope="col">head</th><th scope="col">attribution</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _layer(site: Site, several: bool) -> str:
    """The layer of a site, with the type of attention where a model has several."""
    return f"{site.attention_type} {site.layer}" if several else str(site.layer)


def _largest(values: NDArray[np.floating]) -> float:
    """The largest magnitude, which gets the strongest colour."""
    return float(np.nan_to_num(np.abs(values)).max(initial=0))


def _colour(value: float, largest: float) -> str:
    if not (abs(value) > 0 and largest > 0):  # NaN too
        return ""
    opacity = _STRONGEST * abs(value) / largest
    return f"background: rgba({_RAISES if value > 0 else _LOWERS}, {opacity:.3f})"


def _number(value: float) -> str:
    if math.isnan(value):
        return "&ndash;"
    # Three decimals; one significant digit for a number that would round to zero.
    text = f"{value:+.3f}" if value == 0 or abs(value) >= 5e-4 else f"{value:+.0e}"
    return text.replace("-", "&minus;")
