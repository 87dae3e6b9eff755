"""The page of accounts, for administrators."""

from __future__ import annotations

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from db.accounts import accounts, links, sessions, tokens
from db.accounts.accounts import Account
from db.accounts.audit import note_made
from jobs.errors import ConflictError, HeadwiseError, InputError, NotFoundError, nearest, refuse
from jobs.people import Role
from webui.accounts import trail
from webui.accounts.proxies import external
from webui.accounts.sign_in import need
from webui.context import clean, database, redirect, settings

ACTIONS = ("role", "disable", "enable", "reset", "remove", "sign-out", "unlink")

blueprint = Blueprint("people", __name__, url_prefix="/accounts")


@blueprint.get("")
def index() -> str:
    """Every account."""
    return _page()


@blueprint.post("")
def add() -> ResponseReturnValue:
    """Add an account, and show its one-time link where it may have a password."""
    try:
        name, role = clean(request.form.get("name", "")), role_of(request.form.get("role", ""))
        account = accounts.add(database(), name, role)
    except (InputError, ConflictError) as error:
        return _page(error=error), 400
    note_made(f"account {account.folded}")
    trail.note(role=role.value)
    return _linked(account) if "password" in settings().ways else redirect(url_for(".index"))


@blueprint.post("/<int(max=2147483647):account>/<action>")
def act(account: int, action: str) -> ResponseReturnValue:
    """Change an account; `reset` shows a one-time link with which a new password is chosen."""
    if action not in ACTIONS:
        raise NotFoundError(f"There is no action {action[:40]!r} of accounts.")
    if action == "reset":
        need("password")
    found = accounts.get_number(database(), account)
    note_made(f"account {found.folded}")
    try:
        change(found, action, request.form.get("role", ""))
    except ConflictError as error:
        return _page(error=error), 409
    return _linked(found) if action == "reset" else redirect(url_for(".index"))


@blueprint.post("/tokens/<int(max=2147483647):number>/revoke")
def revoke_token(number: int) -> Response:
    """Revoke a token of anybody."""
    revoke(number)
    return redirect(url_for(".index") + "#tokens")


def revoke(number: int, account: Account | None = None) -> None:
    """Revoke a token, of the account where one is given. Raises NotFoundError."""
    owner = tokens.revoke(database(), number, account)
    note_made(f"token {number}")
    trail.note(of=owner)


def change(account: Account, action: str, role: str = "") -> None:
    """Do one of ACTIONS but `reset`. Raises InputError, and ConflictError."""
    if action == "role":
        accounts.set_role(database(), account, role_of(role))
        trail.note(role=role)
    elif action in ("disable", "enable"):
        _note_paused(accounts.set_disabled(database(), account, action == "disable"))
    elif action == "remove":
        _note_paused(accounts.remove(database(), account))
    elif action == "unlink":
        accounts.unlink(database(), account)
    elif action == "sign-out":
        sessions.end(database(), account)


def _note_paused(recurring: list[int]) -> None:
    if recurring:
        trail.note(paused_recurring=recurring)


def role_of(given: str) -> Role:
    """A role by its name. Raises InputError."""
    if given not in list(Role):
        raise refuse("role", given, "is not a role", nearest(given, Role))
    return Role(given)


def _linked(account: Account) -> Response:
    link = external(url_for("sign_in.welcome", secret=links.make(database(), account)))
    return make_response(_page(link=link, linked=account))


def _page(
    *, error: HeadwiseError | None = None, link: str = "", linked: Account | None = None
) -> str:
    return render_template(
        "accounts.html",
        accounts=accounts.list_accounts(database()),
        tokens=tokens.list_tokens(database()),
        linked_accounts=accounts.with_identity(database()),
        roles=list(Role),
        error=error,
        link=link,
        linked=linked,
        hours=links.HOURS,
        with_password="password" in settings().ways,
    )
