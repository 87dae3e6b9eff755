"""A figure on a page: its specification, its choices as links, and its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from flask import request, url_for
from markupsafe import Markup

from db.reads.jobs import Job
from headwise.figures import VegaFigure
from headwise.figures.sentence import SentenceFigure
from jobs.errors import NotFoundError
from scheduler.figures import figures_of
from scheduler.figures.base import Drawn, Figures
from webui.context import database, same_page

FILES = {"svg": "SVG", "png": "PNG", "pdf": "PDF", "csv": "CSV"}
"""Formats that a figure is offered in, with their names."""
SPECIFICATION = {"json": "Vega-Lite"}
"""The same of a chart alone."""
ROW = 40
"""Letters of the titles of a choice that stand in a row."""


_CELL, _LARGEST, _LARGEST_NARROW, _AROUND = 26, 430, 240, 150
"""Pixels of two maps beside each other, or below each other: of a cell, of all cells of a map, and
of its title, axis and legend; `charts.js` draws them so."""
_LINE, _LETTERS, _NAME_LINES = 14, 22, 2
"""Below an axis: pixels of a line, letters of one of a title on a phone, more lines of names."""
_LETTERS_OF_NAMES = 14
"""Letters of a line of a name left of an axis, on a phone, at the least."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A choice of a figure: its values as links."""

    name: str
    """Its name in addresses."""
    title: str
    values: tuple[tuple[str, str, str, bool], ...]
    """Value, title, address, and True for the one that is shown."""

    @property
    def long(self) -> bool:
        """True where there are too many values to stand in a row."""
        return len(self.values) > 5 and sum(len(title) for _, title, _, _ in self.values) > ROW


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure on a page."""

    key: str
    """Its id on the page."""
    choices: tuple[Choice, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    """Names of formats with their addresses."""


@dataclass(frozen=True, kw_only=True)
class ShownSentence(Shown):
    """A figure of one example on a page, as it was drawn."""

    figure: SentenceFigure

    @cached_property
    def wide(self) -> Markup:
        """The picture where there is room for it."""
        return Markup(self.figure.drawing)  # noqa: S704 - its texts are escaped

    @cached_property
    def narrow(self) -> Markup | None:
        """The picture for phones and columns; None where it is the same."""
        narrow = Markup(self.figure.narrow)  # noqa: S704 - as above
        return None if narrow == self.wide else narrow


@dataclass(frozen=True, kw_only=True)
class ShownChart(Shown):
    """A chart on a page, which a script draws."""

    figure: VegaFigure
    picture: str | None = None
    """The address of the picture for browsers without scripts."""
    address: str | None = None
    """The address that its specification is read from, where it is too large for the page."""
    links: Mapping[str, str] | None = None
    """Addresses to which marks lead, by their `name`."""

    @property
    def height(self) -> int:
        """At least as many pixels as the chart will take, so that nothing moves when it appears."""
        chart = self.figure.chart
        if "hconcat" in chart:
            return self._maps(_LARGEST)
        return self._height(-(-self._panels // chart["columns"]) if "facet" in chart else 1)

    @property
    def narrow_height(self) -> int:
        """The same where panels stand below each other, and the legends below the chart."""
        if "hconcat" in self.figure.chart:
            return 2 * self._maps(_LARGEST_NARROW)
        legends = [28 + 14 * rows for rows in _legends(self.figure.chart).values()]
        more = _LINE * max(_lines(self.figure.chart), default=0)
        more += 20 + sum(legends) if legends else 0
        return self._height(self._panels, narrow=True) + more

    @property
    def _panels(self) -> int:
        facet = self.figure.chart.get("facet")
        return len(facet["sort"]) if facet else 1

    def _maps(self, largest: int) -> int:
        """Pixels of a map of tokens, of at most `largest` for its cells."""
        tokens = {row["query"]: row["query_token"] for row in self.figure.rows}
        labels = min(92, 7 * max(map(len, tokens.values()), default=0))
        return min(_CELL * len(tokens), largest) + labels + _AROUND

    def _height(self, rows: int, *, narrow: bool = False) -> int:
        """Pixels of rows of panels."""
        one = self.figure.chart.get("spec", self.figure.chart)
        height = one.get("height", 0)
        if isinstance(height, dict):
            y = one["encoding"]["y"]
            values = {row[y["field"]] for row in self.figure.rows}
            step = max(height["step"], _row_of_names(y["axis"], values) if narrow else 0)
            height = step * len(values)
        around = 80 if "facet" in self.figure.chart else 60  # the axes, and the names of panels
        return rows * (int(height) + around)

    @property
    def spec(self) -> Markup:
        """Its specification as JSON for a script element; the page's script adds the colours."""
        spec = self.figure.spec
        del spec["config"], spec["usermeta"]
        if self.links:
            for row in spec["data"]["values"]:
                row["href"] = self.links.get(row["name"])
        text = json.dumps(spec, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # Nothing ends the script element early.
        return Markup(text.replace("<", "\\u003c"))  # noqa: S704


def _row_of_names(axis: Mapping[str, Any], values: Iterable[object]) -> int:
    """Pixels that a row needs on a phone, where the names left of it break into lines."""
    if axis.get("labelOverlap"):
        return 0
    known = json.loads(axis.get("labelExpr", "{}").removesuffix("[datum.value]"))
    longest = max((len(str(known.get(str(one), one))) for one in values), default=0)
    return _LINE * -(-longest // _LETTERS_OF_NAMES) + 8


def _lines(part: object) -> Iterator[int]:
    """The lines that titles and names below axes take beside their first, on a phone."""
    if isinstance(part, dict):
        across = part.get("x")
        if isinstance(across, dict) and (axis := across.get("axis")):
            names = _NAME_LINES if "labelLimit" in axis else 0
            yield names + len(axis.get("title") or "") // _LETTERS
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _lines(one)


def _legends(part: object) -> dict[str, int]:
    """The rows of two entries in each legend of a part of a specification, by its field."""
    if not isinstance(part, dict):
        parts = part if isinstance(part, list) else []
        return {field: rows for one in parts for field, rows in _legends(one).items()}
    found = _legends([value for key, value in part.items() if key != "data"])
    for channel in ("color", "strokeDash", "shape"):
        encoding = part.get(channel)
        if isinstance(encoding, dict) and "field" in encoding and encoding.get("legend", 1):
            entries = encoding.get("scale", {}).get("domain", [])
            found[encoding["field"]] = max(2, -(-len(entries) // 2))
    return found


TITLES = {
    "measure": "What the colours show",
    "metric": "What is shown",
    "direction": "Which heads go first",
    "source": "Importance by",
    "ranking": "Ranks by",
    "x": "Across",
    "y": "Upwards",
    "site": "Layer",
    "root": "Root",
    "tau": "Threshold",
    "tau_last": "In the last layer",
}


def show(
    job: Job,
    name: str,
    given: Mapping[str, str] | None = None,
    *,
    key: str = "",
    link: Callable[[Mapping[str, Any]], str] | None = None,
) -> ShownChart | None:
    """A chart of a job, see `show_of`."""
    address = partial(url_for, "figure_api.get_figure", job_id=job.id)
    return show_of(figures_of(job), name, address, given, key=key, link=link)


def show_of(
    figures: Figures[Any],
    name: str,
    address: Callable[..., str],
    given: Mapping[str, str] | None = None,
    *,
    key: str = "",
    link: Callable[[Mapping[str, Any]], str] | None = None,
) -> ShownChart | None:
    """A chart with the choices of the query string; None while it has no results.

    address: of its files in the API, given its `kind`, its choices and a `format`
    given: choices that the page makes itself
    key: its id on the page, by default its name
    link: the address to which a mark leads, by its row

    Raises InputError for a value that cannot be chosen.
    """
    drawn = _drawn(figures, name, given)
    if drawn is None:
        return None
    assert isinstance(drawn.figure, VegaFigure)
    files = _files(name, drawn.chosen, address, FILES | SPECIFICATION)
    return ShownChart(
        key=key or name,
        figure=drawn.figure,
        choices=_choices(drawn, key or name, given or {}),
        files=tuple(files.items()),
        picture=files["SVG"],
        links={row["name"]: link(row) for row in drawn.figure.rows} if link else None,
    )


def show_fetched(job: Job, name: str, figure: VegaFigure, chosen: Mapping[str, str]) -> ShownChart:
    """A chart of a job that the page has drawn, whose rows are fetched as they are many.

    chosen: the values of all of its choices
    """
    address = partial(url_for, "figure_api.get_figure", job_id=job.id)
    files = _files(name, chosen, address, FILES | SPECIFICATION)
    return ShownChart(
        key=name,
        figure=figure,
        files=tuple(files.items()),
        picture=files["SVG"],
        address=files[SPECIFICATION["json"]],
    )


def show_example(
    figures: Figures[Any],
    name: str,
    address: Callable[..., str],
    given: Mapping[str, str] | None = None,
    *,
    key: str = "",
) -> ShownSentence | None:
    """A figure of one example; all else as for `show_of`."""
    drawn = _drawn(figures, name, given)
    if drawn is None:
        return None
    assert isinstance(drawn.figure, SentenceFigure)
    return ShownSentence(
        key=key or name,
        figure=drawn.figure,
        choices=_choices(drawn, key or name, given or {}),
        files=tuple(_files(name, drawn.chosen, address, FILES).items()),
    )


def _drawn(figures: Figures[Any], name: str, given: Mapping[str, str] | None) -> Drawn | None:
    try:
        return figures.draw(database(), name, given or {}, offered=request.args)
    except NotFoundError:
        return None


def _files(
    name: str, chosen: Mapping[str, str], address: Callable[..., str], forms: Mapping[str, str]
) -> dict[str, str]:
    """Addresses of a figure's files, by the names of the formats."""
    return {title: address(kind=name, **chosen, format=form) for form, title in forms.items()}


def _choices(drawn: Drawn, key: str, fixed: Mapping[str, str]) -> tuple[Choice, ...]:
    """The choices that the page leaves to its readers."""
    return tuple(
        Choice(
            name=choice,
            title=TITLES.get(choice, choice.capitalize()),
            values=tuple(
                (value, title, same_page(key, **{choice: value}), value == drawn.chosen[choice])
                for value, title in values.items()
            ),
        )
        for choice, values in drawn.choices.items()
        if choice not in fixed and len(values) > 1
    )
