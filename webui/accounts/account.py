"""The page of one's own account: password, tokens and sessions."""

from __future__ import annotations

import math

from flask import Blueprint, Response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from db.accounts import accounts, sessions, tokens
from db.accounts.accounts import Account
from db.accounts.audit import note_made
from db.accounts.tokens import Scope
from jobs.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    Problem,
    TooManyError,
    nearest,
    refuse,
)
from webui.accounts import cookies, trail
from webui.accounts.people import revoke
from webui.accounts.person import person
from webui.accounts.sign_in import is_right, link_page, need, new_password
from webui.context import clean, database, redirect, settings

blueprint = Blueprint("account", __name__, url_prefix="/account")


@blueprint.get("")
def show() -> ResponseReturnValue:
    """The page."""
    return _page(own())


@blueprint.post("/password")
def change_password() -> ResponseReturnValue:
    """Change the password; every other session ends."""
    need("password")
    account = own()
    try:
        _prove(account)
        kept = getattr(person(), "session", None)
        accounts.set_password(database(), account, new_password(), keep_session=kept)
    except TooManyError as error:
        return _page(account, error.problems), 429, {"Retry-After": str(error.seconds)}
    except InputError as error:
        return _page(account, error.problems), 400
    return redirect(url_for(".show", done="password"))


def _prove(account: Account) -> None:
    """Check the password that the account has so far. Raises InputError, and TooManyError.

    Its tries are not those of the sign-in page, by which others could keep its owner from this.
    """
    current = request.form.get("current", "")
    if account.password and not is_right(f"account {account.id} itself", account, current):
        trail.write("change password", refused=True, reason="wrong password")
        raise refuse("password", None, "the current password is wrong", "Type it once more.")


@blueprint.post("/identity")
def link_identity() -> Response:
    """Begin to link an account at the identity provider."""
    account, found = own(), person()
    if found is None or found.session is None:
        raise ConflictError("Sign in in this browser first: its session takes the link back.")
    return link_page(account)


@blueprint.post("/tokens")
def create_token() -> ResponseReturnValue:
    """Make a token, and show it this once."""
    account = own()
    given = {name: clean(request.form.get(name, "")).strip() for name in ("name", "scope", "days")}
    try:
        number, secret = tokens.make(
            database(), account, given["name"], scope_of(given["scope"]), days_of(given["days"])
        )
    except InputError as error:
        return _page(account, error.problems), 400
    note_made(f"token {number}")
    trail.note(name=given["name"], scope=given["scope"])
    return _page(account, secret=secret), 201


@blueprint.post("/tokens/<int(max=2147483647):number>/revoke")
def revoke_token(number: int) -> Response:
    """Revoke one of the tokens."""
    revoke(number, own())
    return redirect(url_for(".show") + "#tokens")


@blueprint.post("/sessions/<int(max=2147483647):number>/end")
def end_session(number: int) -> Response:
    """End one of the sessions."""
    if not sessions.end(database(), own(), number):
        raise NotFoundError(f"You have no session {number}.")
    return redirect(url_for(".show") + "#sessions")


@blueprint.post("/sign-out-everywhere")
def sign_out_everywhere() -> Response:
    """End every session, this one, too."""
    sessions.end(database(), own())
    return cookies.take(redirect(url_for("sign_in.show")))


def own() -> Account:
    """The account of the person. Raises NotFoundError without sign-in."""
    found = person()
    if found is None or found.account is None:
        message = (
            "There are no accounts without sign-in: set HEADWISE_AUTH (docs/howto/accounts.md)."
        )
        raise NotFoundError(message)
    return found.account


def scope_of(given: str) -> Scope:
    """A scope by its name. Raises InputError."""
    if given not in list(Scope):
        raise refuse("scope", given, "is not a scope of tokens", nearest(given, Scope))
    return Scope(given)


def days_of(given: str) -> float | None:
    """The days until a token expires; None where it never does. Raises InputError."""
    try:
        days = float(given or tokens.DEFAULT_DAYS)
    except ValueError:
        days = math.nan
    if not 0 <= days <= tokens.MOST_DAYS:
        message = f"must be a number of days up to {tokens.MOST_DAYS:,.0f}; 0 is never"
        raise refuse("days", given, message, f"Default: {tokens.DEFAULT_DAYS:g}.")
    return days or None


def _page(account: Account, problems: tuple[Problem, ...] = (), secret: str = "") -> str:
    found = person()
    return render_template(
        "account.html",
        account=account,
        problems=problems,
        secret=secret,
        tokens=tokens.list_tokens(database(), account),
        scopes=[one for one in Scope if one.role.rank <= account.role.rank],
        days=tokens.DEFAULT_DAYS,
        sessions=sessions.list_sessions(database(), account),
        current=found.session if found else None,
        with_password="password" in settings().ways,
        with_provider="oidc" in settings().ways and bool(found and found.session),
        linked=account.id in accounts.with_identity(database()),
        done=request.args.get("done", ""),
    )
