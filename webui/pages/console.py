"""The SQL console on the published views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from flask import Blueprint, Response, render_template, request, url_for

from db.console.console import Console, QueryResult
from db.views import VIEWS
from jobs.errors import InputError, Problem, UnavailableError
from webui.context import attachment, clean, client, is_foreign, redirect, settings
from webui.pages.saved_queries import SAVED

LONGEST_LINK = 3_000
"""Characters of a query in an address; servers cut longer ones."""

RETRY = {"Retry-After": "5"}

_Page = tuple[str, int, dict[str, str]]

blueprint = Blueprint("console", __name__)


@blueprint.get("/sql")
def show() -> _Page:
    """The console; a query in the address (?q=) is run, unless another site's page leads here."""
    sql = clean(request.args.get("q", ""))
    return _ran(sql) if sql.strip() and not is_foreign() else _page(sql)


@blueprint.post("/sql")
def run() -> Response | _Page:
    """Run a query: at an address that can be shared, where it fits into one."""
    sql = clean(request.form.get("q", ""))
    if len(quote(sql)) <= LONGEST_LINK:
        return redirect(url_for(".show", q=sql))
    return _ran(sql)


@blueprint.route("/sql.csv", methods=["GET", "POST"])
def download() -> Response | _Page:
    """The whole result as CSV; an error is told once, with its status."""
    sql = clean(request.values.get("q", ""))
    if is_foreign():
        return redirect(url_for(".show", q=sql))
    rows = Console(settings(), client()).csv(sql)
    try:
        # The first piece is made now, while an error can still be told.
        first = next(rows)
    except (InputError, UnavailableError) as error:
        if not request.accept_mimetypes.accept_html:
            raise
        return _failed(sql, error)

    def body() -> Iterator[bytes]:
        yield first
        yield from rows

    response = attachment(body(), "text/csv", "headwise-query.csv")
    # A body that is never read (HEAD, or a reader that left) must give its space back, too.
    response.call_on_close(rows.close)
    return response


def _numeric(result: QueryResult | None) -> list[bool]:
    """True for each column whose first value that is not null is a number."""
    if result is None:
        return []
    firsts = (
        next((v for v in column if v is not None), None)
        for column in zip(*result.rows, strict=True)
    )
    found = [isinstance(first, int | float) for first in firsts]
    return found or [False] * len(result.columns)


def _ran(sql: str) -> _Page:
    try:
        result = Console(settings(), client()).preview(sql)
    except (InputError, UnavailableError) as error:
        return _failed(sql, error)
    return _page(sql, result=result)


def _failed(sql: str, error: InputError | UnavailableError) -> _Page:
    if isinstance(error, InputError):
        return _page(sql, problems=error.problems, status=400)
    return _page(sql, problems=[Problem(field="sql", value=None, message=str(error))], status=503)


def _page(
    sql: str,
    *,
    result: QueryResult | None = None,
    problems: Sequence[Problem] = (),
    status: int = 200,
) -> _Page:
    page = render_template(
        "sql.html",
        sql=sql,
        result=result,
        numeric=_numeric(result),
        problems=problems,
        saved=SAVED,
        schema=VIEWS,
        limits=settings(),
    )
    return page, status, RETRY if status == 503 else {}
