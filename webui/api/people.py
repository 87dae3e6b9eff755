"""Accounts, tokens and the audit log in the JSON API."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from http import HTTPStatus

from flask import Blueprint, url_for

from db.accounts import accounts, audit, links, sessions, tokens
from db.accounts.accounts import Account
from db.accounts.audit import AuditFilter, note_made
from jobs.errors import refuse
from webui.accounts import trail
from webui.accounts.account import own
from webui.accounts.people import change, revoke
from webui.accounts.person import person
from webui.accounts.proxies import external
from webui.accounts.sign_in import need
from webui.api.models.people import (
    AccountAnswer,
    AccountBody,
    AccountChangesBody,
    AccountsAnswer,
    AuditPage,
    AuditQuery,
    EndedAnswer,
    EntryAnswer,
    LinkAnswer,
    NewTokenAnswer,
    PersonAnswer,
    TokenAnswer,
    TokenBody,
    TokensAnswer,
)
from webui.api.models.system import RemovedAnswer
from webui.context import database
from webui.contract import cursors
from webui.contract.models import WholePageQuery
from webui.contract.operations import forgets, operation

TAG = "People"
_CONFLICT = (HTTPStatus.CONFLICT,)
_REFUSED = (HTTPStatus.FORBIDDEN,)

blueprint = Blueprint("people_api", __name__, url_prefix="/api/v1")


@blueprint.get("/account")
@operation(TAG, PersonAnswer)
def get_person() -> PersonAnswer:
    """Get whose request this is, and their role; `local` where nobody signs in."""
    found = person()
    assert found is not None  # every address but the public ones has somebody
    return PersonAnswer(
        name=found.name,
        user=found.folded,
        role=found.role,
        scope=found.token and found.token.scope,
        expires_at=found.token and found.token.expires_at,
    )


@blueprint.get("/tokens")
@operation(TAG, TokensAnswer, errors=_REFUSED)
def list_tokens(query: WholePageQuery) -> TokensAnswer:
    """List your tokens, without their secrets."""
    return _page_of(_tokens(), query)


@blueprint.post("/tokens")
@operation(TAG, NewTokenAnswer, statuses=(HTTPStatus.CREATED,), creates=True)
@forgets("secret")
def create_token(json: TokenBody) -> tuple[NewTokenAnswer, int]:
    """Make a token; its secret is in this answer, and nowhere else."""
    number, secret = tokens.make(database(), own(), json.name, json.scope, json.days)
    note_made(f"token {number}")
    trail.note(name=json.name, scope=json.scope.value)
    made = next(one for one in _tokens() if one.id == number)
    return NewTokenAnswer(**asdict(made), secret=secret), 201


@blueprint.delete("/tokens/<int(max=2147483647):number>")
@operation(TAG, RemovedAnswer)
def delete_token(number: int) -> RemovedAnswer:
    """Revoke one of your tokens."""
    revoke(number, own())
    return RemovedAnswer(removed=number)


@blueprint.get("/accounts")
@operation(TAG, AccountsAnswer, errors=_REFUSED)
def list_accounts(query: WholePageQuery) -> AccountsAnswer:
    """List accounts; for administrators, as all that follows."""
    linked = accounts.with_identity(database())
    found = sorted(accounts.list_accounts(database()), key=lambda one: one.folded)
    shown, following = cursors.page_after(found, query, lambda one: one.folded, texts=True)
    return AccountsAnswer(accounts=[_answer(one, linked) for one in shown], next=following)


@blueprint.post("/accounts")
@operation(TAG, AccountAnswer, statuses=(HTTPStatus.CREATED,), errors=_CONFLICT, creates=True)
def create_account(json: AccountBody) -> tuple[AccountAnswer, int]:
    """Add an account without a way in: make a link for it."""
    added = accounts.add(database(), json.name, json.role)
    note_made(f"account {added.folded}")
    trail.note(role=added.role.value)
    return _answer(added, set()), 201


@blueprint.patch("/accounts/<int(max=2147483647):account>")
@operation(TAG, AccountAnswer, errors=_CONFLICT)
def change_account(account: int, json: AccountChangesBody) -> AccountAnswer:
    """Change an account's role, or disable or enable it; disabling ends its sessions.

    The recurring jobs of a disabled account are paused.
    """
    found = _found(account)
    if json.role is None and json.disabled is None:
        raise refuse("changes", None, "change nothing", "Give role or disabled.")
    trail.note(**json.model_dump(mode="json", exclude_none=True))
    if json.role is not None:
        accounts.set_role(database(), found, json.role)
    if json.disabled is not None:
        change(found, "disable" if json.disabled else "enable")
    return _answer(accounts.get_number(database(), account), accounts.with_identity(database()))


@blueprint.delete("/accounts/<int(max=2147483647):account>/identities")
@operation(TAG, AccountAnswer, errors=_CONFLICT)
def unlink_account(account: int) -> AccountAnswer:
    """Unlink an account from the identity provider, and end the sessions that came from there."""
    found = _found(account)
    accounts.unlink(database(), found)
    return _answer(found, set())


@blueprint.delete("/accounts/<int(max=2147483647):account>")
@operation(TAG, RemovedAnswer, errors=_CONFLICT)
def delete_account(account: int) -> RemovedAnswer:
    """Remove an account with its sessions and tokens.

    Its jobs stay and keep running; its recurring jobs stay and are paused.
    """
    change(_found(account), "remove")
    return RemovedAnswer(removed=account)


@blueprint.post("/accounts/<int(max=2147483647):account>/link")
@operation(TAG, LinkAnswer, creates=True)
@forgets("url")
def create_link(account: int) -> LinkAnswer:
    """Make a one-time link, with which they choose a password; links and sessions so far end."""
    need("password")
    secret = links.make(database(), _found(account))
    return LinkAnswer(url=external(url_for("sign_in.welcome", secret=secret)), hours=links.HOURS)


@blueprint.delete("/accounts/<int(max=2147483647):account>/sessions")
@operation(TAG, EndedAnswer)
def end_sessions(account: int) -> EndedAnswer:
    """Sign somebody out everywhere."""
    return EndedAnswer(ended=sessions.end(database(), _found(account)))


@blueprint.get("/accounts/<int(max=2147483647):account>/tokens")
@operation(TAG, TokensAnswer, errors=_REFUSED)
def list_account_tokens(account: int, query: WholePageQuery) -> TokensAnswer:
    """List the tokens of an account, without their secrets."""
    found = accounts.get_number(database(), account)
    return _page_of(tokens.list_tokens(database(), found), query)


@blueprint.delete("/accounts/<int(max=2147483647):account>/tokens/<int(max=2147483647):number>")
@operation(TAG, RemovedAnswer)
def revoke_account_token(account: int, number: int) -> RemovedAnswer:
    """Revoke a token of an account."""
    revoke(number, accounts.get_number(database(), account))
    return RemovedAnswer(removed=number)


@blueprint.get("/audit")
@operation(TAG, AuditPage, errors=_REFUSED)
def list_audit(query: AuditQuery) -> AuditPage:
    """List entries of the audit log, newest first."""
    found = audit.list_entries(
        database(),
        AuditFilter(user=query.user, action=query.action, object=query.object, since=query.since),
        before=cursors.number(query.cursor) or 0,
        limit=query.limit + 1,
    )
    shown, following = cursors.cut(found, query.limit, lambda one: (one.id,))
    return AuditPage(
        entries=[EntryAnswer(**{**vars(one), "detail": dict(one.detail or {})}) for one in shown],
        next=following,
    )


def _tokens() -> list[tokens.Token]:
    return tokens.list_tokens(database(), own())


def _page_of(found: list[tokens.Token], query: WholePageQuery) -> TokensAnswer:
    shown, following = cursors.page_after(found, query, lambda one: one.id)
    return TokensAnswer(tokens=[TokenAnswer(**asdict(one)) for one in shown], next=following)


def _found(number: int) -> Account:
    found = accounts.get_number(database(), number)
    note_made(f"account {found.folded}")
    return found


def _answer(one: Account, linked: Collection[int]) -> AccountAnswer:
    return AccountAnswer(
        id=one.id,
        name=one.name,
        user=one.folded,
        role=one.role,
        disabled=one.disabled,
        has_password=one.password is not None,
        has_identity=one.id in linked,
        created_at=one.created_at,
        signed_in_at=one.signed_in_at,
    )
