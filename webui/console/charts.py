"""The chart of a result: which ones it allows, the columns to choose, and its figure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from flask import url_for

from db.console.console import QueryResult
from db.console.formats import unique
from headwise.figures import CHARTS, Chart, Figure, Table, draw_table, propose
from headwise.figures.tables import HEIGHT
from jobs.errors import nearest, refuse
from jobs.formatting import counted
from webui.console.asked import AXES, Asked
from webui.figures.shown import FILES, SPECIFICATION

TITLES = {"x": "Across", "y": "Up", "series": "Colours"}
"""The choices of a chart, as its form names them."""
ROW = 27
"""Pixels of a layer in a heat map that is still to come."""


@dataclass(frozen=True, kw_only=True)
class Menu:
    """The charts that a result allows, and of the one that is shown what can be chosen."""

    kinds: tuple[tuple[str, str, bool], ...]
    """Kinds with their titles, and True for the one that is shown."""
    choices: tuple[tuple[str, str, tuple[str, ...], str], ...] = ()
    """Name of the field, title, columns, and the one that is chosen."""
    spec: str = ""
    """The address of the specification."""
    picture: str = ""
    """The address of the picture for browsers without scripts."""
    files: tuple[tuple[str, str], ...] = ()
    """Names of formats with their addresses."""
    height: int = HEIGHT
    """Pixels that it will take, so that nothing moves when it appears."""
    caption: str = ""
    """The caption of a chart of these rows; that of all rows may add a sentence."""


def table_of(result: QueryResult) -> Table:
    """A result as a table; columns of one name are numbered."""
    return Table(columns=tuple(unique(result.columns)), types=result.types, rows=result.rows)


def menu(result: QueryResult, asked: Asked) -> Menu:
    """The charts of a result. Raises InputError for a choice that there is not."""
    table = table_of(result)
    proposed = propose(table)
    kinds = tuple((kind, CHARTS[kind], kind == asked.chart) for kind in proposed)
    if not asked.chart or not asked.fits_address:
        return Menu(kinds=kinds if asked.fits_address else ())
    chart = chosen(table, asked)
    numbers = tuple(table.named("integer", "real"))
    columns = {"x": table.columns, "y": numbers, "series": ("", *table.columns)}
    heads = chart.kind == "heads"
    names = ("y",) if heads else AXES
    titles = {**TITLES, "y": TITLES["series"]} if heads else TITLES
    fields = replace(asked, first=1, x=chart.x, y=chart.y, series=chart.series).fields

    def address(form: str) -> str:
        return f"{url_for('console.draw_chart', form=form)}?{urlencode(fields)}"

    return Menu(
        kinds=kinds,
        height=44 + ROW * len(set(table.values("layer"))) if heads else HEIGHT,
        choices=tuple((name, titles[name], columns[name], getattr(chart, name)) for name in names),
        spec=address("json"),
        picture=address("svg"),
        caption=draw_table(table, chart).caption,
        files=tuple((title, address(form)) for form, title in (FILES | SPECIFICATION).items()),
    )


def chosen(table: Table, asked: Asked) -> Chart:
    """The chart that is asked for. Raises InputError."""
    if asked.chart not in CHARTS:
        raise refuse("chart", asked.chart, "unknown value", nearest(asked.chart, CHARTS))
    proposed = propose(table)
    if asked.chart not in proposed:
        raise refuse("chart", asked.chart, "the result has no columns for it", _NEEDS[asked.chart])
    chart = proposed[asked.chart]
    given = {name: value for name in AXES if (value := getattr(asked, name))}
    for name, value in given.items():
        known = table.named("integer", "real") if name == "y" else table.columns
        if value not in known:
            raise refuse(name, value, "is not a column of the result", nearest(value, known))
    if asked.x and not asked.series:
        given["series"] = ""  # the form sends it empty for none
    return replace(chart, **given)


_NEEDS = {
    "heads": "It needs layer, head and a number, once for each head.",
    "line": "It needs a number and a column to put it against.",
    "bars": "It needs a number and a column to put it against.",
    "points": "It needs a number and a column to put it against.",
}


def figure(result: QueryResult, asked: Asked) -> Figure:
    """The chart of a result. Raises InputError."""
    table = table_of(result)
    note = ""
    if result.truncated or len(result.rows) < result.count:
        note = f"Of the first {counted(len(result.rows), 'row')}; the query has more."
    return draw_table(table, chosen(table, asked), note)
