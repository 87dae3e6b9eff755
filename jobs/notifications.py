"""Notifications: what a recipient is told, and the check of a new one."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jobs.errors import InputError
from jobs.specs.base import read_strictly
from jobs.specs.validation import problems

_MAIL = re.compile(r"[^@\s/:?&#]+@[^@\s/:?&#]+\.[^@\s/:?&#]+")


class JobEvents(StrEnum):
    """The jobs of its user that a recipient is told of."""

    ALL = "all"
    LONG = "long"
    FAILED = "failed"
    ASKED = "asked"


WORDS = {
    JobEvents.ALL: "every job and study",
    JobEvents.LONG: "jobs of more than ten minutes, and studies",
    JobEvents.FAILED: "jobs and studies that fail",
    JobEvents.ASKED: "only jobs it is chosen for",
}
LONG_SECONDS = 600.0


def told_of(jobs: JobEvents, conditions: bool) -> str:
    """The things that a recipient is told of, in words."""
    return WORDS[jobs] + (", and problems of the installation" if conditions else "")


class NewRecipient(BaseModel):
    """An address to be told of jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=80, description="Its name in lists.")
    address: str = Field(
        min_length=3,
        max_length=2_000,
        description="An e-mail address, an https:// address for a signed webhook, or an address "
        "of Apprise such as slack://…, ntfy://… or workflows://….",
    )
    jobs: JobEvents = Field(default=JobEvents.ALL, description="The jobs that it is told of.")
    conditions: bool = Field(
        default=False,
        description="Also told of problems of the installation: dead workers, ...",
    )

    @field_validator("name", "address")
    @classmethod
    def _clean(cls, value: str) -> str:
        value = value.strip()
        if not value.isprintable() or not value:
            raise ValueError("must be printable text on one line")
        return value

    @property
    def is_mail(self) -> bool:
        """True for a bare e-mail address, which goes through the server of the settings."""
        return _MAIL.fullmatch(self.address) is not None

    @property
    def is_webhook(self) -> bool:
        """True for an address that gets signed JSON."""
        return is_webhook(self.address)


def is_webhook(address: str) -> bool:
    """True for an address that gets signed JSON."""
    return urlsplit(address).scheme.lower() in ("http", "https")


def parse_recipient(raw: object) -> NewRecipient:
    """Check a new recipient. Raises InputError with every problem."""
    try:
        return read_strictly(NewRecipient, raw)
    except ValidationError as error:
        found = problems(error, NewRecipient)
    # An address may have a password in it.
    raise InputError([replace(one, value=None) if one.field == "address" else one for one in found])
