"""The SQL console in the JSON API: the published views, and queries to start from."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint
from pydantic import BaseModel, ConfigDict, Field

from db.console import own_queries
from db.console.messages import MAX_SQL
from db.console.own_queries import LONGEST_TITLE, OwnQuery
from db.views import VIEWS
from webui.accounts.person import own_name
from webui.api.models.system import RemovedAnswer
from webui.console.examples import EXAMPLES
from webui.context import database
from webui.contract.models import Answer
from webui.contract.operations import operation

TAG = "Tables"

blueprint = Blueprint("console_api", __name__, url_prefix="/api/v1")


class ColumnAnswer(Answer):
    """A published column."""

    name: str
    type: str
    meaning: str


class ViewAnswer(Answer):
    """A published view."""

    name: str
    meaning: str
    columns: list[ColumnAnswer]


class ViewsAnswer(Answer):
    """The published views."""

    views: list[ViewAnswer]


class SavedQuery(Answer):
    """A query that the console offers."""

    question: str
    """The question that it helps to answer."""
    title: str
    about: str
    """One sentence: what its rows are."""
    sql: str


class SavedAnswer(Answer):
    """The queries that the console offers."""

    queries: list[SavedQuery]


class OwnQueryAnswer(Answer):
    """A query of the person."""

    id: int
    title: str | None
    """The title that it was saved under; null for one that was run only."""
    sql: str
    link: str
    """The part of its address that nobody can guess: /sql/link/..."""
    ran_at: float


class OwnQueriesAnswer(Answer):
    """The queries of the person."""

    saved: list[OwnQueryAnswer]
    """By title."""
    ran: list[OwnQueryAnswer]
    """The history, the last one first."""


class TitleBody(BaseModel):
    """A new title."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(min_length=1, max_length=LONGEST_TITLE)


class QueryBody(TitleBody):
    """A query to save."""

    sql: str = Field(min_length=1, max_length=MAX_SQL)


@blueprint.get("/sql/views")
@operation(TAG, ViewsAnswer)
def list_views() -> ViewsAnswer:
    """List the published views and what their columns mean."""
    views = [
        ViewAnswer(
            name=view.name,
            meaning=view.meaning,
            columns=[
                ColumnAnswer(name=one.name, type=one.type, meaning=one.meaning)
                for one in view.columns
            ],
        )
        for view in VIEWS
    ]
    return ViewsAnswer(views=views)


@blueprint.get("/sql/queries")
@operation(TAG, SavedAnswer)
def list_saved_queries() -> SavedAnswer:
    """List the queries that the console offers."""
    queries = [
        SavedQuery(question=one.question, title=one.title, about=one.about, sql=one.sql)
        for one in EXAMPLES
    ]
    return SavedAnswer(queries=queries)


@blueprint.get("/sql/own")
@operation(TAG, OwnQueriesAnswer)
def list_own_queries() -> OwnQueriesAnswer:
    """List the queries that the person saved, and those that they ran in the console."""
    return OwnQueriesAnswer(
        saved=[_own(one) for one in own_queries.list_saved(database(), own_name())],
        ran=[_own(one) for one in own_queries.list_run(database(), own_name())],
    )


@blueprint.post("/sql/own")
@operation(TAG, OwnQueryAnswer, statuses=(HTTPStatus.CREATED,), creates=True)
def save_query(json: QueryBody) -> tuple[OwnQueryAnswer, int]:
    """Save a query under a title."""
    return _own(own_queries.save(database(), own_name(), json.sql, json.title)), 201


@blueprint.patch("/sql/own/<int(max=2147483647):number>")
@operation(TAG, OwnQueryAnswer)
def rename_query(number: int, json: TitleBody) -> OwnQueryAnswer:
    """Give a query another title; one of the history is saved by it."""
    return _own(own_queries.rename(database(), own_name(), number, json.title))


@blueprint.delete("/sql/own/<int(max=2147483647):number>")
@operation(TAG, RemovedAnswer)
def delete_query(number: int) -> RemovedAnswer:
    """Delete a query of the person."""
    own_queries.delete(database(), own_name(), number)
    return RemovedAnswer(removed=number)


@blueprint.get("/sql/link/<link>")
@operation(TAG, OwnQueryAnswer)
def get_linked_query(link: str) -> OwnQueryAnswer:
    """Get a query by its link, which its person has given away."""
    return _own(own_queries.find(database(), link))


def _own(one: OwnQuery) -> OwnQueryAnswer:
    return OwnQueryAnswer(id=one.id, title=one.title, sql=one.sql, link=one.link, ran_at=one.ran_at)
