"""The SQL console on the published views."""

from __future__ import annotations

from urllib.parse import quote

from flask import Blueprint, Response, render_template, request, url_for

from db.console.console import Console, QueryResult
from db.views import VIEWS
from jobs.errors import InputError, Problem, UnavailableError
from webui.context import clean, is_foreign, redirect, settings
from webui.pages.saved_queries import SAVED

LONGEST_LINK = 3_000
"""Characters of a query in an address; servers cut longer ones."""

blueprint = Blueprint("console", __name__)


@blueprint.get("/sql")
def show() -> tuple[str, int]:
    """The console; a query in the address (?q=) is run, unless another site's page leads here."""
    sql = clean(request.args.get("q", ""))
    return _page(sql, run=bool(sql.strip()) and not is_foreign())


@blueprint.post("/sql")
def run() -> Response | tuple[str, int]:
    """Run a query: at an address that can be shared, where it fits into one."""
    sql = clean(request.form.get("q", ""))
    if len(quote(sql)) <= LONGEST_LINK:
        return redirect(url_for(".show", q=sql))
    return _page(sql, run=True)


@blueprint.route("/sql.csv", methods=["GET", "POST"])
def download() -> Response | tuple[str, int]:
    """The whole result as CSV."""
    if is_foreign():
        return _page(clean(request.values.get("q", "")), run=False)
    sql = clean(request.values.get("q", ""))
    rows = Console(settings()).csv(sql)
    try:
        # The first piece is made now, while an error can still be told as a page.
        first = next(rows, b"")
    except (InputError, UnavailableError):
        return _page(sql, run=True)

    def body() -> object:
        yield first
        yield from rows

    response = Response(body(), mimetype="text/csv")  # type: ignore[arg-type]
    response.headers["Content-Disposition"] = 'attachment; filename="headwise-query.csv"'
    return response


def _numeric(result: QueryResult | None) -> list[bool]:
    """Which columns hold numbers, by their first value that is not null."""
    if result is None:
        return []
    firsts = (
        next((v for v in column if v is not None), None)
        for column in zip(*result.rows, strict=True)
    )
    found = [isinstance(first, int | float) for first in firsts]
    return found or [False] * len(result.columns)


def _page(sql: str, *, run: bool) -> tuple[str, int]:
    result, problems, status = None, [], 200
    if run:
        try:
            result = Console(settings()).run(sql)
        except InputError as error:
            problems, status = list(error.problems), 400
        except UnavailableError as error:
            problems = [Problem(field="sql", value=None, message=str(error))]
            status = 503
    page = render_template(
        "sql.html",
        sql=sql,
        result=result,
        numeric=_numeric(result),
        problems=problems,
        saved=SAVED,
        schema=VIEWS,
        limits=settings(),
        ran=run,
    )
    return page, status
