"""People: their names, compared without regard to how they are written, and their roles."""

from __future__ import annotations

import re
import unicodedata
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobs.errors import InputError, Problem, refuse

LOCAL = "local"
"""The name of the one person of an installation without sign-in."""
LONGEST_NAME = 100
LONGEST_TYPED = 4 * LONGEST_NAME
"""Characters of a name with all that is invisible in it."""
HIGHEST_PRIORITY = 100
LOWEST_PRIORITY = -HIGHEST_PRIORITY

_IGNORED = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters without a picture that are no format characters (category Cf)."""


class Role(StrEnum):
    """The rights of a person; each has those of the roles before it."""

    VIEWER = "viewer"
    """Reads, and runs SQL."""
    MEMBER = "member"
    """Submits; changes and deletes what is theirs."""
    ADMIN = "admin"
    """Everything, and the accounts of others."""

    @property
    def rank(self) -> int:
        """Its place in the order of roles."""
        return list(Role).index(self)


def fold(name: str) -> str:
    """`name` as it is compared: NFKC, case folded, blanks joined, without invisible characters.

    "Ada", "ADA" and "ada" with a zero-width space are one person. Folding twice changes nothing. A
    text that is too long for a name is left as it is: a megabyte would take half a minute.
    """
    if len(name) > LONGEST_TYPED:
        return name
    while (folded := _fold_once(name)) != name:
        name = folded
    return folded


def _fold_once(name: str) -> str:
    text = unicodedata.normalize("NFKC", name)
    text = "".join(one for one in text if unicodedata.category(one) not in ("Cf", "Cc"))
    text = " ".join(_IGNORED.sub("", text).split())
    return unicodedata.normalize("NFKC", text.casefold())


def checked_name(name: str) -> str:
    """`name` without blanks around it. Raises InputError where nothing of it can be seen."""
    shown = " ".join(unicodedata.normalize("NFC", name).split())
    folded = fold(shown)
    if not folded:
        raise refuse("user", name, "has no visible character", "Give a name.")
    if max(len(shown), len(folded)) > LONGEST_NAME:
        raise refuse("user", name, f"is longer than {LONGEST_NAME} characters", "Shorten it.")
    if any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Cn") for one in shown):
        raise refuse("user", name, "has invisible characters", "Type it again.")
    return shown


@dataclass(frozen=True, kw_only=True)
class Submitter:
    """The person in whose name submissions are made."""

    name: str
    for_others: bool
    """True if they may submit in the name of others, too."""
    highest_priority: int = HIGHEST_PRIORITY
    """The highest priority that they may give to a job."""


submitter: ContextVar[Submitter | None] = ContextVar("submitter", default=None)
"""Set while the request of a signed-in person is answered; elsewhere any name may be given."""


def user_of(given: Any) -> Any:
    """The user of a submission that gives `given` (None for no user), folded if it is a text.

    Raises InputError where a signed-in person gives the name of another.
    """
    own = submitter.get()
    if given is None:
        return fold(own.name) if own else LOCAL
    if not isinstance(given, str) or "\0" in given:  # refused with the other fields
        return given
    folded = fold(given)
    if own and not own.for_others and folded != fold(own.name):
        message = "is another user; jobs are submitted in your own name"
        raise InputError(
            Problem(field="user", value=given, message=message, remedy="Leave it out.")
        )
    return folded


def highest_priority() -> int:
    """The highest priority that whoever submits may give to a job."""
    own = submitter.get()
    return own.highest_priority if own else HIGHEST_PRIORITY


def priority_problems(priority: int, granted: int = LOWEST_PRIORITY) -> list[Problem]:
    """The problem of a priority above what the submitter may give; none otherwise.

    granted: the priority that the job has already, and may keep
    """
    highest = max(highest_priority(), granted)
    if priority <= highest:
        return []
    return [
        Problem(
            field="priority",
            value=priority,
            message=f"is above {highest}, the highest that members may give to this job",
            remedy=f"Give {LOWEST_PRIORITY} to {highest}, or ask an administrator.",
        )
    ]
