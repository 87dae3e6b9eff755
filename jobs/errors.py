"""The errors a user can cause, and the one place that draws their tree.

    HeadwiseError
    ├── InputError          bad input: one or more problems, each with field, value and remedy
    │   ├── LimitError          good input, but more than its user may have at once (429)
    │   ├── TooManyError        too many wrong sign-ins; says when to try again (429)
    │   └── QueryError          a query in SQL that was refused; names its line
    ├── SignInError         not signed in, or the token is not valid (401)
    ├── ForbiddenError      somebody is, who may not do this (403)
    ├── NotFoundError       no such job, example or page of results
    ├── ConflictError       the request does not fit the job's state
    └── UnavailableError    a database, broker or process that does not answer; says which
        ├── HubUnavailableError     the hub, while a job's data is loaded: tried again later
        └── UnwritableError         a database that answers, but stores nothing

At the edges they become a 4xx (503 for UnavailableError) in the API and one line with exit
status 2 on the command line.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DATABASE = "Database"
"""`UnavailableError.what` of the database."""


class HeadwiseError(Exception):
    """Base of everything that is reported to a user as a message, never as a traceback."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with an input."""

    field: str
    """Dotted name of the field as the user wrote it, e.g. `data.path`."""
    value: object
    message: str
    """The fault."""
    remedy: str = ""
    """The remedy."""

    def __str__(self) -> str:
        shown = "" if self.value is None else f" (given: {shorten(self.value)})"
        end = f" {self.remedy}" if self.remedy else ""
        return f"{self.field}: {self.message}{shown}.{end}"


class InputError(HeadwiseError):
    """Input that was refused before any work started."""

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__(" ".join(str(problem) for problem in self.problems))


class LimitError(InputError):
    """A submission that is more than its user may have unfinished at once."""


class TooManyError(InputError):
    """Too many tries.

    seconds: until the next one
    """

    def __init__(self, problem: Problem, seconds: int) -> None:
        super().__init__(problem)
        self.seconds = seconds


class QueryError(InputError):
    """A query in SQL that was refused or failed.

    line: the line of the fault, from 1; None where it is not known
    """

    def __init__(self, problem: Problem, line: int | None) -> None:
        super().__init__(problem)
        self.line = line


class SignInError(HeadwiseError):
    """A request without a signed-in person, or without valid proof of who they are."""


class ForbiddenError(HeadwiseError):
    """The signed-in person may not do this."""


def refuse(field: str, value: object, message: str, remedy: str = "") -> InputError:
    """An InputError with a single problem."""
    return InputError(Problem(field=field, value=value, message=message, remedy=remedy))


class NotFoundError(HeadwiseError):
    """The requested object does not exist."""


class ConflictError(HeadwiseError):
    """The request does not fit the present state of the job."""


class UnavailableError(HeadwiseError):
    """A service or a process that Headwise needs does not answer.

    what: its name, as the title of a page begins: "Database", "Figure"
    """

    def __init__(self, message: str, *, what: str = "Service") -> None:
        super().__init__(message)
        self.what = what


class HubUnavailableError(UnavailableError):
    """The hub does not answer, or answers with a server error."""

    def __init__(self, message: str) -> None:
        super().__init__(message, what="Hub")


class UnwritableError(UnavailableError):
    """The database answers, but stores nothing."""

    def __init__(self, message: str, *, disk_full: bool) -> None:
        super().__init__(message, what=DATABASE)
        self.disk_full = disk_full


def as_written(value: object) -> str:
    """A value as its user may have written it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def shorten(value: object, limit: int = 80) -> str:
    """A value, text in quotes, cut in its middle to `limit`: the end of a path says most."""
    text = repr(value) if isinstance(value, str) else as_written(value)
    if len(text) <= limit:
        return text
    tail = limit // 2
    return text[: limit - tail - 1] + "…" + text[-tail:]


def nearest(name: str, known: Iterable[str]) -> str:
    """`Did you mean X?`, or the list of known names when none is near."""
    names = sorted(map(str, known))
    if not names:
        return "None is known here: leave it out."
    # A name three times as long has less than half in common; comparing takes its length.
    near = len(name) <= 3 * max(map(len, names))
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if near else []
    return f"Did you mean {match[0]!r}?" if match else f"Known: {', '.join(names)}."
