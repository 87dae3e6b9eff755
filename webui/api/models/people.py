"""Accounts, tokens and the audit log."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from db.accounts.tokens import DEFAULT_DAYS, MOST_DAYS, Scope
from jobs.people import LONGEST_NAME, Role
from webui.contract.models import Answer, Page, PageQuery


class PersonAnswer(Answer):
    """Whose request it is."""

    name: str
    user: str
    """The name as jobs have it."""
    role: Role
    """With a token, what its scope leaves of it."""
    scope: Scope | None
    """Of the token; null without one."""
    expires_at: float | None
    """The time at which the token expires; null where it never does, and without one."""


class AccountAnswer(Answer):
    """An account."""

    id: int
    name: str
    user: str
    """The name as it is compared, and as jobs have it."""
    role: Role
    disabled: bool
    has_password: bool
    has_identity: bool
    """True if an identity provider or a proxy knows them."""
    created_at: float
    signed_in_at: float | None


class AccountsAnswer(Page):
    """Accounts, by name."""

    accounts: list[AccountAnswer]


class AccountBody(BaseModel):
    """An account to add."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=LONGEST_NAME, description="Shown, and signed in by.")
    role: Role = Field(default=Role.MEMBER, description="viewer, member or admin.")


class AccountChangesBody(BaseModel):
    """Changes of an account; what is not given stays."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = Field(default=None, description="viewer, member or admin.")
    disabled: bool | None = Field(default=None, description="Whether they are refused.")


class LinkAnswer(Answer):
    """A one-time link, with which a person chooses a password; shown only now."""

    url: str | None
    """Null where this is the kept answer to a request that was sent again."""
    hours: int
    """The time for which it works."""


class EndedAnswer(Answer):
    """Sessions that were ended."""

    ended: int
    """Their number."""


class TokenBody(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, description="What the token is for.")
    scope: Scope = Field(default=Scope.READ, description="read, submit or admin.")
    days: float | None = Field(
        default=DEFAULT_DAYS, gt=0, le=MOST_DAYS, description="Days until it expires; null: never."
    )


class TokenAnswer(Answer):
    """A token, without its secret."""

    id: int
    prefix: str
    """Its first characters."""
    account: str
    name: str
    scope: Scope
    created_at: float
    expires_at: float | None
    used_at: float | None
    expired: bool


class NewTokenAnswer(TokenAnswer):
    """A token that was just made."""

    secret: str | None
    """The secret that programs send; shown only now, and null in the kept answer to a request that
    was sent again."""


class TokensAnswer(Page):
    """Tokens, the oldest first."""

    tokens: list[TokenAnswer]


class AuditQuery(PageQuery):
    """Entries to list; empty values are every one."""

    user: str = Field(default="", max_length=200, description="Who did it.")
    action: str = Field(default="", max_length=200, description="What was done: delete job.")
    object: str = Field(default="", max_length=200, description="What it was done to: job 7.")
    since: float = Field(default=0.0, ge=0, le=1e11, description="Seconds since 1970.")


class EntryAnswer(Answer):
    """An entry of the audit log."""

    id: int
    at: float
    user: str
    address: str
    action: str
    object: str
    detail: dict[str, Any]


class AuditPage(Page):
    """Entries of the audit log, newest first."""

    entries: list[EntryAnswer]
