"""Results as HTML that needs nothing else: for notebooks, and as pages of their own.

Colours are translucent over the background and the text has the page's colour, so that they are
readable on light and dark ones. Every coloured thing has its number as text. What comes from
texts, labels and module names is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from headwise.replay import Site
    from headwise.result import Attribution, Edge
    from headwise.wordpieces import WordPair, Words

_EXAMPLES, _PAIRS = 3, 8
_POSITIVE, _NEGATIVE = "37, 99, 235", "217, 119, 6"
_STRONGEST = 0.45  # opacity; black and white text keep a contrast of at least 4.5 on it

_STYLE = """
.headwise { font: 14px/1.5 system-ui, sans-serif; color: inherit; }
.headwise table { border-collapse: collapse; margin: 0.5em 0 1em; }
.headwise caption { text-align: left; font-weight: 600; padding-bottom: 0.25em; }
.headwise th, .headwise td { padding: 0.15em 0.5em; text-align: right; background: none;
  border: 1px solid rgba(128, 128, 128, 0.4); font-variant-numeric: tabular-nums; }
.headwise th { font-weight: 500; }
.headwise .text { text-align: left; }
.headwise .words { margin: 0.5em 0; line-height: 2.6; }
.headwise .word { display: inline-block; margin: 0.1em; padding: 0 0.3em; line-height: 1.3;
  border-radius: 3px; text-align: center; }
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
    """A piece of HTML with its style, shown by a notebook, or saved as a page."""

    title: str
    body: str

    def _repr_html_(self) -> str:
        return f'<div class="headwise"><style>{_STYLE}</style>{self.body}</div>'

    def save(self, path: str | Path) -> None:
        """Write a complete page, in UTF-8."""
        page = _PAGE.format(title=escape(self.title), body=self._repr_html_())
        Path(path).write_text(page, encoding="utf-8")


def summary_picture(result: Attribution) -> Picture:
    """The importance of all heads, and the first examples."""
    failed = sum(error is not None for error in result.errors)
    shown = range(min(_EXAMPLES, len(result)))
    counts = f"{len(result)} examples, {failed} failed"
    return Picture(
        title="Attribution",
        body="".join(
            [
                f"<p>Attribution by {escape(result.method)}: {counts}</p>",
                heat_map("Importance I_h: mean score", result.sites, result.importance()),
                *(_example(result, example) for example in shown),
            ]
        ),
    )


def example_picture(result: Attribution, example: int) -> Picture:
    """The words, pairs and heads of one example."""
    body = _example(result, example)
    if result.errors[example] is None:
        body += heat_map("Scores: largest cell", result.sites, result.scores[example])
    return Picture(title=f"Attribution of example {example}", body=body)


def heat_map(caption: str, sites: Sequence[Site], values: NDArray[np.floating]) -> str:
    """A table of sites and heads; values [S, H], NaN where there is no head."""
    largest = _largest(values)
    kinds = {site.kind for site in sites}
    heads = "".join(f'<th scope="col">{head}</th>' for head in range(values.shape[1]))
    rows = []
    for site, row in zip(sites, values, strict=True):
        name = _layer(site, len(kinds) > 1)
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


def _example(result: Attribution, example: int) -> str:
    title = f"<p><strong>Example {example}</strong>"
    error = result.errors[example]
    if error is not None:
        return f"{title} failed: {escape(error)}</p>"
    predicted, target = int(result.predicted[example]), int(result.target[example])
    probability = float(result.probabilities[example, predicted])
    about = (
        f" predicted {escape(result.labels[predicted])} ({probability:.3f}),"
        f" attributed {escape(result.labels[target])}</p>"
    )
    words = result.words_of(example)
    assert words is not None
    return title + about + _words(words) + _pairs(result, example, words)


def _words(words: Words) -> str:
    """Every word, coloured by what is attributed to it as a key, over all sites and heads."""
    totals = np.nan_to_num(words.attribution).sum(axis=0, dtype=np.float64)
    largest = _largest(totals)
    spans = " ".join(
        f'<span class="word" style="{_colour(value, largest)}">{escape(text)}'
        f"<small>{_number(value)}</small></span>"
        for text, value in zip(words.texts, totals.tolist(), strict=True)
    )
    return f'<div class="words">{spans}</div>'


def _pairs(result: Attribution, example: int, words: Words) -> str:
    """The largest cells between words, or between their pieces where matrices were not kept."""
    pairs: Sequence[WordPair | Edge]
    if words.matrix is not None:
        caption, pairs, texts = "words", words.pairs(_PAIRS), words.texts
    else:
        caption, pairs, texts = "tokens", result.edges_of(example, _PAIRS), result.tokens[example]
    if not pairs:
        return ""
    largest = _largest(np.array([pair.value for pair in pairs]))
    several = len({site.kind for site in result.sites}) > 1
    rows = "".join(
        f'<tr><td class="text">{escape(texts[pair.query])}</td>'
        f'<td class="text">{escape(texts[pair.key])}</td>'
        f"<td>{escape(_layer(pair.site, several))}</td><td>{pair.head}</td>"
        f'<td style="{_colour(pair.value, largest)}">{_number(pair.value)}</td></tr>'
        for pair in pairs
    )
    return (
        f"<table><caption>Strongest pairs of {caption}</caption>"
        '<thead><tr><th scope="col" class="text">query</th><th scope="col" class="text">key</th>'
        '<th scope="col">layer</th><th scope="col">head</th><th scope="col">attribution</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _layer(site: Site, several: bool) -> str:
    """A site's layer, with its kind where there are several kinds."""
    return f"{site.kind} {site.layer}" if several else str(site.layer)


def _largest(values: NDArray[np.floating]) -> float:
    """The largest magnitude, by which colours are scaled."""
    return float(np.nan_to_num(np.abs(values)).max(initial=0))


def _colour(value: float, largest: float) -> str:
    if not (abs(value) > 0 and largest > 0):  # NaN too
        return ""
    opacity = _STRONGEST * abs(value) / largest
    return f"background: rgba({_POSITIVE if value > 0 else _NEGATIVE}, {opacity:.3f})"


def _number(value: float) -> str:
    if math.isnan(value):
        return "&ndash;"
    # Three decimals, and one digit of what would be zero then.
    text = f"{value:+.3f}" if value == 0 or abs(value) >= 5e-4 else f"{value:+.0e}"
    return text.replace("-", "&minus;")
