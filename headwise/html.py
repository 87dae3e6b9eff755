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

from headwise.figures.palette import LIGHT, channels
from headwise.replay import Site
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
.headwise .words { margin: 0.5em 0; line-height: 2.6; }
.headwise .word { display: inline-block; margin: 0.1em; padding: 0 0.3em; line-height: 1.3;
  border-radius: 3px; text-align: center; print-color-adjust: exact; }
.headwise .word small { display: block; font-size: 10px; }
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

    prediction: in words, with its probability
    target: the name of what is attributed
    words: with their attribution
    head: the site and number of the head that colours the words; by default all do
    pairs: the strongest, strongest first; query and key index ``texts``
    unit: ``words`` or ``tokens``, the elements of ``texts``
    """

    error: str | None = None
    prediction: str = ""
    target: str = ""
    words: Words | None = None
    head: tuple[Site, int] | None = None
    pairs: Sequence[Pair] = ()
    texts: Sequence[str] = ()
    unit: str = "words"


def section(example: int, shown: Explanation) -> str:
    """One example: prediction, words and strongest pairs, or its error."""
    title = f"<p><strong>Example {example}</strong>"
    if shown.error is not None:
        return f"{title} failed: {escape(shown.error)}</p>"
    prediction = f" {escape(shown.prediction)}, attributed {escape(shown.target)}</p>"
    assert shown.words is not None
    return title + prediction + _words(shown.words, shown.head) + _pairs(shown, shown.words.sites)


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


def _words(words: Words, head: tuple[Site, int] | None) -> str:
    """Every word, coloured by its attribution as a key: of one head, or of all heads and sites."""
    title = ""
    if head is None or words.by_head is None:
        totals = np.nan_to_num(words.attribution).sum(axis=0, dtype=np.float64)
    else:
        site, number = head
        totals = words.by_head[site.index, number].astype(np.float64)
        several = len({other.attention_type for other in words.sites}) > 1
        title = f"<p>Words that head {number} of layer {escape(_layer(site, several))} reads</p>"
    largest = _largest(totals)
    spans = " ".join(
        f'<span class="word" style="{_colour(value, largest)}">{escape(text)}'
        f"<small>{_number(value)}</small></span>"
        for text, value in zip(words.texts, totals.tolist(), strict=True)
    )
    return f'{title}<div class="words">{spans}</div>'


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
