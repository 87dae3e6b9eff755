"""A person's queries: those that they ran and those that they saved, and the links to them."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, render_template, request, url_for

from db.console import own_queries
from db.console.own_queries import OwnQuery
from jobs.errors import UnavailableError, refuse
from webui.accounts.person import own_name
from webui.console.asked import Asked
from webui.context import database, redirect

log = logging.getLogger(__name__)

blueprint = Blueprint("own_queries", __name__)


@blueprint.get("/sql/queries")
def index() -> str:
    """The person's queries."""
    return render_template("own_queries.html", **listed(own_queries.MOST_RUN))


@blueprint.post("/sql/queries")
def save() -> Response:
    """Save a query, and show its result again."""
    asked = Asked.of_request()
    own = own_queries.save(database(), own_name(), asked.sql, request.form.get("title", ""))
    return redirect(url_for(".open_link", link=own.link))


@blueprint.post("/sql/queries/<int(max=2147483647):number>/<action>")
def change(number: int, action: str) -> Response:
    """Rename or delete a query."""
    if action == "rename":
        own_queries.rename(database(), own_name(), number, request.form.get("title", ""))
    elif action == "delete":
        own_queries.delete(database(), own_name(), number)
    else:
        raise refuse("action", action, "is unknown", "Known: rename, delete.")
    return redirect(url_for(".index"))


@blueprint.post("/sql/queries/forget")
def forget() -> Response:
    """Delete the history."""
    own_queries.forget(database(), own_name())
    return redirect(url_for(".index"))


@blueprint.get("/sql/link/<link>")
def open_link(link: str) -> Response | str:
    """Open a query in the console: whoever has its link may."""
    asked = Asked(sql=own_queries.find(database(), link).sql)
    if asked.fits_address:
        return redirect(asked.address)
    # No address holds it: the person sends it with a button.
    return render_template("long_query.html", asked=asked)


def listed(most: int) -> dict[str, list[OwnQuery]]:
    """The queries that the person saved, and those that they ran last, for a template."""
    return {
        "saved": own_queries.list_saved(database(), own_name()),
        "ran": own_queries.list_run(database(), own_name(), most),
    }


def note(asked: Asked) -> None:
    """Put a query into the history; a database that is away keeps nobody from the rows."""
    try:
        own_queries.note(database(), own_name(), asked.sql)
    except UnavailableError as error:
        log.warning("not in the history of queries: %s", error)
