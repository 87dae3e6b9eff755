"""The errors of a server, with its problems in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headwise.errors import HeadwiseError


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A thing that is wrong with a request."""

    field: str
    value: Any
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message.rstrip('.')}. {self.remedy}".strip()


class ServerError(HeadwiseError):
    """A server refused a request, or failed.

    status: of the answer, as in HTTP; None if the server was not reached
    problems: every thing that is wrong, with field, value, message and remedy
    """

    def __init__(
        self, message: str, status: int | None = None, problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problems = tuple(problems)


class UnreachableError(ServerError):
    """The server did not answer, also when it was asked again."""


class RefusedError(ServerError):
    """The request is wrong: `problems` names fields, values and remedies (400, 413, 415, 422)."""


class SignInError(ServerError):
    """The token is missing, wrong, expired or may not do this (401, 403)."""


class NotFoundError(ServerError):
    """There is no such job, study or table (404)."""


class ConflictError(ServerError):
    """The state of a job does not allow this (409)."""


class JobFailedError(HeadwiseError):
    """A job that was waited for did not succeed."""

    def __init__(self, message: str, job: int, state: str) -> None:
        super().__init__(message)
        self.job = job
        self.state = state
