"""Problem details (RFC 9457): the one body of every error."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import Problem, as_written

MEDIA_TYPE = "application/problem+json"
REFERENCE = "/help/api"
LONGEST = 200
"""Characters of a value that an error shows."""

KINDS = {
    HTTPStatus.BAD_REQUEST: (
        "invalid-request",
        "the input is invalid; each problem names one fault",
    ),
    HTTPStatus.UNAUTHORIZED: ("sign-in", "you are not signed in, or the token is not valid"),
    HTTPStatus.FORBIDDEN: ("refused", "the request came from another site, or you may not do this"),
    HTTPStatus.NOT_FOUND: ("not-found", "there is no such job, study or example"),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method",
        "the method is not allowed at this address; see `Allow`",
    ),
    HTTPStatus.REQUEST_TIMEOUT: ("too-slow", "the request did not arrive in time"),
    HTTPStatus.CONFLICT: ("conflict", "the state of the job or study does not allow it"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too-large", "the body is too large"),
    HTTPStatus.REQUEST_URI_TOO_LONG: ("uri-too-long", "the address is too long"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("media-type", "the type of the body is not supported"),
    HTTPStatus.UNPROCESSABLE_ENTITY: (
        "key-reused",
        "the `Idempotency-Key` belongs to another request",
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "limit",
        "more than the settings allow at once; try again after `Retry-After` seconds",
    ),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: ("headers", "the headers are too large"),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("internal", "a fault of the server; its log has the cause"),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "unavailable",
        "the database or another service does not answer, or too many ask; try again after "
        "`Retry-After` seconds",
    ),
}
"""The name and meaning of every status that an error may have."""
NO_ADDRESS = ("no-address", "there is no such address: perhaps a newer release has it")
"""The name and meaning of a 404 that says nothing of a job or study: clients tell them apart."""

RETRY_SECONDS = {HTTPStatus.TOO_MANY_REQUESTS: 30, HTTPStatus.SERVICE_UNAVAILABLE: 5}
"""After how long it makes sense to try again, in seconds."""


class ProblemEntry(BaseModel):
    """One thing that is wrong with a request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    field: str = Field(examples=["data.path"])
    """Dotted name of the field, as in the request."""
    value: str | int | float | bool | None = Field(examples=["rows.jsonl"])
    """The value that was given; long ones are cut."""
    message: str = Field(examples=["no such file"])
    """The fault."""
    remedy: str = Field(examples=["Check the path; it is read on the server."])
    """The remedy; empty where nothing helps."""


class ProblemDetails(BaseModel):
    """The body of every error, RFC 9457."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = Field(examples=[f"{REFERENCE}#invalid-request"])
    """Address of the description of this kind of error."""
    title: str = Field(examples=["Invalid request"])
    """The kind of error, in words."""
    status: int = Field(examples=[400])
    """The status of the answer."""
    detail: str = Field(examples=["data.path: no such file (given: 'rows.jsonl')."])
    """Every problem, in a sentence each."""
    problems: list[ProblemEntry]
    """One entry for each thing that is wrong; never empty."""


def entry(problem: Problem) -> dict[str, Any]:
    """A problem as the API sends it, with long values cut."""
    return {
        "field": problem.field,
        "value": _shown(problem.value),
        "message": problem.message,
        "remedy": problem.remedy,
    }


def _shown(value: object) -> str | int | float | bool | None:
    """A value that JSON has, cut where it is long."""
    exact = isinstance(value, bool | None) or (
        isinstance(value, int | float) and math.isfinite(value) and abs(value) < 2**53
    )
    if exact:
        return value  # type: ignore[return-value]
    text = as_written(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def body(
    status: HTTPStatus, title: str, problems: Sequence[Problem], *, kind: str | None = None
) -> bytes:
    """The body of an error.

    kind: the name of the kind of error; by default that of its status
    """
    name, _ = KINDS.get(status, ("about", ""))
    details = {
        "type": f"{REFERENCE}#{kind or name}",
        "title": title,
        "status": status.value,
        "detail": " ".join(map(str, problems)),
        "problems": [entry(problem) for problem in problems],
    }
    # A lone surrogate in what was given is no Unicode text; it is sent as "?".
    return json.dumps(details, ensure_ascii=False).encode(errors="replace")
