"""Operations of the API: a view, the models that it reads and answers with, and its description.

spectree keeps what belongs to a view and writes the document; how requests are read, what an error
looks like and how answers are written is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar, cast

from flask import Response, current_app, make_response
from pydantic import BaseModel
from spectree import Response as Answers
from spectree import SpecTree
from spectree.plugins.base import Context
from spectree.plugins.flask_plugin import FlaskPlugin
from spectree.plugins.werkzeug_utils import flask_response_unpack

from webui.contract import deprecation
from webui.contract.idempotency import once
from webui.contract.models import Page, Query
from webui.contract.problems import ProblemDetails
from webui.contract.reading import read_body, read_query

View = TypeVar("View", bound=Callable[..., Any])

JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """The document's facts about a view besides its models."""

    errors: tuple[HTTPStatus, ...]
    """Statuses besides those that every operation may answer with."""
    media_types: tuple[str, ...]
    """Of an answer that has no model."""
    creates: bool
    """True where `Idempotency-Key` is understood."""
    conditional: bool
    """True if a GET is answered with an `ETag`."""
    files: Mapping[str, str]
    """Files of a multipart body: a field and its description."""


OPERATIONS: dict[Callable[..., Any], Operation] = {}
"""By view function, as Flask calls it."""


class _Plugin(FlaskPlugin):
    """Requests read strictly, errors as problems, answers written from models."""

    def request_validation(
        self, request: Any, query: Any, json: Any, form: Any, headers: Any, cookies: Any
    ) -> None:
        """Read what the view asks for. Raises InputError."""
        found = read_query(query or Query)
        deprecation.note(found)
        request.context = Context(
            query=found,
            json=read_body(json) if json else None,
            form=None,
            headers=None,
            cookies=None,
        )

    def validate_response(
        self, resp: Any, resp_model: Any, skip_validation: bool, force_resp_serialize: bool
    ) -> tuple[Response, None]:
        """Write an answer; models have checked it when they were made."""
        if isinstance(resp, Response):  # written already, such as 304
            return resp, None
        payload, status, headers = flask_response_unpack(resp)
        if isinstance(payload, BaseModel):
            written = payload.model_dump_json().encode()
            response = current_app.response_class(written, mimetype=JSON)
            if isinstance(payload, Page) and payload.next:
                response.headers.add("Link", f'<{payload.next}>; rel="next"')
            payload = response
        return make_response(payload, status, headers), None


api = SpecTree(
    "flask",
    backend=_Plugin,
    mode="strict",
    annotations=True,
    validation_error_status=HTTPStatus.BAD_REQUEST,
    validation_error_model=ProblemDetails,
    naming_strategy=lambda model: model.__name__,
    nested_naming_strategy=lambda _parent, child: child,
)


def operation(
    tag: str,
    answer: type[BaseModel] | None = None,
    *,
    statuses: Sequence[HTTPStatus] = (HTTPStatus.OK,),
    errors: Sequence[HTTPStatus] = (),
    media_types: Sequence[str] = (JSON,),
    creates: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Decorate a view of the API, below its route.

    The view's parameters `query` and `json` are read with the models that annotate them.

    answer: model of the body that the view returns with one of `statuses`
    errors: statuses besides those that every operation may answer with
    media_types: of a body that has no model
    creates: keep the answer for requests with the same `Idempotency-Key`
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Response]:
        answers = Answers(**{f"HTTP_{one.value}": answer for one in statuses})
        described = api.validate(resp=answers, tags=[tag], operation_id=view.__name__)(view)
        if creates:
            described = once(described, _SECRETS.get(view))
        OPERATIONS[described] = Operation(
            errors=tuple(errors),
            media_types=tuple(media_types),
            creates=creates,
            conditional=view not in _STREAMED,
            files=_FILES.get(view, {}),
        )
        return cast(Callable[..., Response], described)

    return decorate


def takes_files(**files: str) -> Callable[[View], View]:
    """Decorate a view, below `operation`, that takes a multipart body: files by field, and what."""

    def decorate(view: View) -> View:
        _FILES[view] = files
        return view

    return decorate


def forgets(field: str) -> Callable[[View], View]:
    """Decorate a view, below `operation`, whose kept answer goes without this field: a secret."""

    def decorate(view: View) -> View:
        _SECRETS[view] = field
        return view

    return decorate


def streams(view: View) -> View:
    """Decorate a view, below `operation`, that answers in pieces: without an `ETag`."""
    _STREAMED.add(view)
    return view


_FILES: dict[Callable[..., Any], Mapping[str, str]] = {}
_SECRETS: dict[Callable[..., Any], str] = {}
_STREAMED: set[Callable[..., Any]] = set()
