"""The SQL console on the published views."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from flask import Blueprint, Response, render_template, request

from db.console.console import Console, QueryResult
from db.console.formats import DOWNLOADS
from db.views import VIEWS
from jobs.errors import InputError, NotFoundError, Problem, QueryError, UnavailableError
from webui.accounts import trail
from webui.accounts.origins import is_foreign
from webui.accounts.person import client
from webui.api.figures import MEDIA_TYPES as FIGURE_TYPES
from webui.console import charts
from webui.console.asked import Asked, cell_of_request
from webui.console.examples import EXAMPLES, Example
from webui.console.grid import grid
from webui.context import attachment, redirect, settings
from webui.figures.drawing import content
from webui.pages.console import own_queries

MEDIA_TYPES = {
    "csv": "text/csv",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
TITLES = {"csv": "CSV", "json": "JSON", "parquet": "Parquet"}
SHOWN_RUN = 5
"""Queries of the history that the console lists."""
RETRY = {"Retry-After": "5"}

_Page = tuple[str, int, dict[str, str]]

blueprint = Blueprint("console", __name__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The outcome of a query."""

    result: QueryResult | None = None
    menu: charts.Menu | None = None
    plan: str | None = None
    """The plan of the database for the query."""
    problems: Sequence[Problem] = ()
    line: int | None = None
    """The line of the query that is at fault, from 1."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@blueprint.get("/sql")
def show() -> _Page:
    """The console; a query in the address (?q=) is run, unless another site's page leads here."""
    asked = Asked.of_request()
    if asked.empty or is_foreign():
        return _page(asked, Answer())
    return _page(asked, _ran(asked))


@blueprint.post("/sql")
def run() -> Response | _Page:
    """Run a query: at an address that can be shared, where it fits into one."""
    asked = Asked.of_request()
    if asked.fits_address:
        return redirect(asked.address)
    return _page(asked, _ran(asked))


@blueprint.route("/sql/cell", methods=["GET", "POST"])
def cell() -> Response | str:
    """One value of a result, whole."""
    asked = Asked.of_request()
    if is_foreign():
        return redirect(asked.address)
    row, column = cell_of_request()
    trail.write("sql", sql=asked.sql)
    result = Console(settings(), client()).cell(asked.sql, row, column, sort=asked.sort)
    if not result.rows:
        raise NotFoundError(f"The result has no row {row + 1:,} any more.")
    [(value,)] = result.rows
    return render_template(
        "sql_cell.html", asked=asked, row=row, name=result.columns[column], value=_readable(value)
    )


def _readable(value: object) -> str:
    """The text of a value; a JSON array or object on lines of its own."""
    text = str(value)
    try:
        found = json.loads(text) if text[:1] in ("[", "{") else None
    except ValueError:
        return text
    return text if found is None else json.dumps(found, indent=2, ensure_ascii=False)


@blueprint.route("/sql.<any(csv, json, parquet):form>", methods=["GET", "POST"])
def download(form: str) -> Response | _Page:
    """The whole result as a file; an error is told once, with its status."""
    asked = Asked.of_request()
    if is_foreign():
        return redirect(asked.address)
    try:
        return as_file(asked.sql, form, sort=asked.sort)
    except (InputError, UnavailableError) as error:
        if not request.accept_mimetypes.accept_html:
            raise
        return _page(asked, _failed(error))


@blueprint.get("/sql/chart.<any(svg, png, pdf, csv, json):form>")
def draw_chart(form: str) -> Response:
    """The chart of a result as a file."""
    asked = Asked.of_request()
    if is_foreign():
        return redirect(asked.address)
    trail.write("sql", sql=asked.sql)
    result = Console(settings(), client()).points(asked.sql, sort=asked.sort)
    response = Response(content(charts.figure(result, asked), form), mimetype=FIGURE_TYPES[form])
    kept = "inline" if form in ("svg", "json") else "attachment"
    response.headers["Content-Disposition"] = f'{kept}; filename="headwise-query.{form}"'
    return response


def as_file(sql: str, form: str, *, sort: int = 0) -> Response:
    """The whole result of a query, streamed. Raises InputError and UnavailableError."""
    trail.write("sql", sql=sql, download=True)
    rows = Console(settings(), client()).download(sql, form, sort=sort)
    return attachment(rows, MEDIA_TYPES[form], f"headwise-query.{form}")


def _ran(asked: Asked) -> Answer:
    trail.write("sql", sql=asked.sql)
    console = Console(settings(), client())
    try:
        if asked.plan:
            return Answer(plan=console.explain(asked.sql))
        result = console.preview(asked.sql, sort=asked.sort, skip=asked.first - 1)
        if asked == Asked(sql=asked.sql):  # not a second look at the same result
            own_queries.note(asked)
        return Answer(result=result, menu=charts.menu(result, asked))
    except (InputError, UnavailableError) as error:
        return _failed(error)


def _failed(error: InputError | UnavailableError) -> Answer:
    if isinstance(error, InputError):
        line = error.line if isinstance(error, QueryError) else None
        return Answer(problems=error.problems, line=line, status=400)
    problem = Problem(field="sql", value=None, message=str(error))
    return Answer(problems=[problem], status=503, headers=RETRY)


def _by_question() -> list[tuple[str, list[Example]]]:
    """The queries to start from, under the questions that they answer."""
    return [(question, list(found)) for question, found in groupby(EXAMPLES, _question)]


_question = attrgetter("question")


def _page(asked: Asked, answer: Answer) -> _Page:
    page = render_template(
        "sql.html",
        asked=asked,
        result=answer.result,
        grid=grid(answer.result, asked) if answer.result else None,
        menu=answer.menu,
        plan=answer.plan,
        problems=answer.problems,
        line=answer.line,
        files=[(form, TITLES[form]) for form in DOWNLOADS],
        examples=_by_question(),
        **own_queries.listed(SHOWN_RUN),
        schema=VIEWS,
        limits=settings(),
    )
    return page, answer.status, answer.headers
