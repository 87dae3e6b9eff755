"""Signing in and out: the page, wrong passwords and their limits, and one-time links."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from urllib.parse import urlsplit

from flask import Blueprint, Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from db.accounts import accounts, failures, links, sessions
from db.accounts.accounts import Account
from db.accounts.passwords import matches
from db.accounts.sessions import Visit
from jobs.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    Problem,
    TooManyError,
    refuse,
)
from jobs.people import Role, fold
from webui.accounts import cookies, oidc, trail
from webui.accounts.proxies import client_address, external, network_of
from webui.context import clean, database, redirect, settings

MOST_OF_ACCOUNT, MOST_OF_ADDRESS = 10, 30
"""Wrong passwords within `failures.WINDOW_SECONDS`; then 429."""

blueprint = Blueprint("sign_in", __name__)


@blueprint.get("/sign-in")
def show() -> ResponseReturnValue:
    """The page where people sign in; `next` is where they go on."""
    if not settings().ways:
        return redirect(url_for("jobs.index"))
    return _page()


@blueprint.post("/sign-in")
def enter() -> ResponseReturnValue:
    """Sign in with a password; wrong ones are counted."""
    need("password")
    name, password = clean(request.form.get("name", "")), request.form.get("password", "")
    try:
        account = _checked(name, password)
    except TooManyError as error:
        response = make_response(_page(name, error.problems), 429)
        response.headers["Retry-After"] = str(error.seconds)
        return response
    except InputError as error:
        return _page(name, error.problems), 403
    return signed_in(account, "password", target())


@blueprint.get("/sign-in/oidc")
def begin_oidc() -> Response:
    """Lead the browser to the identity provider."""
    need("oidc")
    address, errand = oidc.begin(settings(), _back(), target())
    return _sent_out(redirect(address), errand)


def link_page(account: Account) -> Response:
    """The account's page, with the way to the identity provider and back to be linked."""
    need("oidc")
    session = cookies.read() or ""
    address, errand = oidc.begin(settings(), _back(), url_for("account.show"), session)
    # A redirect after a form would be refused: forms lead to this host alone.
    page = render_template("account_link.html", account=account, address=address)
    return _sent_out(make_response(page), errand)


def _sent_out(response: Response, errand: oidc.Errand) -> Response:
    # The cookie is the browser's own, and worth nothing without the provider's answer.
    return cookies.give(response, json.dumps(asdict(errand)), cookies.ERRAND)


@blueprint.get("/sign-in/oidc/callback")
def finish_oidc() -> Response:
    """Take what the identity provider answers, and sign in."""
    need("oidc")
    errand = _errand()
    if errand.session:
        return cookies.take(_linked(errand), cookies.ERRAND)
    try:
        account = _arrived(oidc.finish(settings(), _back(), errand, request.args))
    except ForbiddenError as error:
        trail.write("wrong sign-in", user="", way="oidc", reason=str(error))
        raise
    there = errand.there if is_own(errand.there) else url_for("jobs.index")
    return cookies.take(signed_in(account, "oidc", there), cookies.ERRAND)


def _errand() -> oidc.Errand:
    """The errand of this browser. Raises ForbiddenError."""
    try:
        found = oidc.Errand(**json.loads(cookies.read(cookies.ERRAND) or ""))
        if all(isinstance(value, str) for value in asdict(found).values()):
            return found
    except (ValueError, TypeError):
        pass
    raise ForbiddenError(oidc.STALE)


def _arrived(caller: oidc.Caller) -> Account:
    """The account of somebody whom the identity provider knows. Raises ForbiddenError."""
    own, opened = settings(), database()
    role = _role_of_groups(caller)
    account = accounts.find_identity(opened, own.oidc_issuer, caller.subject)
    if account is None:
        new = role or Role(own.new_role)
        added = accounts.add_identity(opened, own.oidc_issuer, caller.subject, caller.names, new)
        trail.write_account("add account", added, way="oidc", role=new.value)
        return added
    if account.disabled:
        raise ForbiddenError(f"The account {account.name} is disabled.")
    if role is not None and role is not account.role:
        with suppress(ConflictError):  # the last administrator stays one
            accounts.set_role(opened, account, role)
            trail.write_account("role account", account, way="oidc", role=role.value)
    return account


def _role_of_groups(caller: oidc.Caller) -> Role | None:
    """The role that groups give; None where they give none. Raises ForbiddenError."""
    own = settings()
    role = own.role_of_groups(caller.groups) if own.oidc_roles else None
    if own.oidc_roles and role is None:
        raise ForbiddenError("None of your groups has access. Ask an administrator.")
    return role


def _linked(errand: oidc.Errand) -> Response:
    """Link the identity to the account whose session has begun this.

    Raises ForbiddenError, and ConflictError for an identity that another account has.
    """
    secret = cookies.read() or ""
    found = sessions.find(database(), secret)
    account = found[1] if found and errand.is_of(secret) else None
    try:
        if account is None:
            message = "The session that began this has ended. Begin again."
            raise ForbiddenError(message)
        caller = oidc.finish(settings(), _back(), errand, request.args)
        _role_of_groups(caller)
        accounts.link_identity(database(), account, settings().oidc_issuer, caller.subject)
    except (ForbiddenError, ConflictError) as error:
        user = found[1].folded if found else ""
        trail.write("link identity", user=user, way="oidc", refused=True, reason=str(error))
        raise
    trail.write_account("link identity", account, way="oidc")
    return redirect(url_for("account.show", done="linked"))


def _back() -> str:
    return external(url_for("sign_in.finish_oidc"))


@blueprint.post("/sign-out")
def leave() -> Response:
    """End the session of this browser."""
    secret = cookies.read()
    found = sessions.find(database(), secret) if secret else None
    if found is not None:
        number, account = found
        sessions.end(database(), account, number)
        trail.write("sign out", user=account.folded)
    there = url_for(".show") if settings().ways else url_for("jobs.index")
    return cookies.take(redirect(there))


@blueprint.get("/welcome/<secret>")
def welcome(secret: str) -> ResponseReturnValue:
    """The page of a one-time link: choose a password."""
    need("password")
    return _welcome(links.find(database(), secret), secret)


@blueprint.post("/welcome/<secret>")
def choose_password(secret: str) -> ResponseReturnValue:
    """Set the password, use up the link, and sign in."""
    need("password")
    account = links.find(database(), secret)
    try:
        links.use(database(), secret, new_password())
    except InputError as error:
        return _welcome(account, secret, error.problems), 400
    trail.write_account("use one-time link", account)
    return signed_in(account, "password", url_for("jobs.index"))


def new_password() -> str:
    """A new password that was typed twice. Raises InputError."""
    first, second = (request.form.get(name, "") for name in ("password", "again"))
    if first != second:
        raise refuse(
            "password", None, "the two passwords do not match", "Type the same password twice."
        )
    return first


def signed_in(account: Account, way: str, there: str) -> Response:
    """Begin a session, with an identifier of its own, in place of the one that the browser has."""
    before = cookies.read()
    found = sessions.find(database(), before) if before else None
    if found is not None:
        sessions.end(database(), found[1], found[0])
    address = client_address()
    visit = Visit(
        way=way,
        address=address,
        agent=clean(request.headers.get("User-Agent", "")),
        seconds=settings().session_days * 86_400,
    )
    secret = sessions.start(database(), account, visit)
    trail.write("sign in", user=account.folded, way=way)
    return cookies.give(redirect(there), secret)


def target() -> str:
    """The address to go to after signing in, of the dashboard; by default the list of jobs."""
    given = request.values.get("next", "")
    return given if is_own(given) else url_for("jobs.index")


def is_own(address: str) -> bool:
    """True if an address is a path of this site, however a browser reads it."""
    if not address.startswith("/") or address[1:2] in ("/", "\\") or "\\" in address:
        return False
    if any(ord(one) < 32 for one in address):
        return False
    parts = urlsplit(address)
    return not parts.scheme and not parts.netloc


def _checked(name: str, password: str) -> Account:
    """The account of a name and its password. Raises InputError, and TooManyError."""
    account = accounts.find(database(), name)
    person = f"account {hashlib.sha256(fold(name).encode()).hexdigest()}"
    right = is_right(person, account, password)
    if account is not None and right and not account.disabled:
        return account
    reason = "no such account"
    if account is not None:
        reason = "disabled" if right else "wrong password"
    trail.write("wrong sign-in", user=account.folded if account else "", reason=reason)
    raise refuse(
        "password",
        None,
        "the name or password is wrong, or the account is disabled",
        "Try again, or ask an administrator.",
    )


def is_right(person: str, account: Account | None, password: str) -> bool:
    """True if a password is the account's. Raises TooManyError after many that were wrong.

    person: the key under which tries are counted, besides that of the address
    """
    address = f"address {network_of(client_address())}"
    limits = {person: MOST_OF_ACCOUNT, address: MOST_OF_ADDRESS}
    if seconds := failures.claim(database(), limits):
        message = "too many wrong passwords"
        remedy = f"Try again in {-(-seconds // 60)} min; an administrator can reset the password."
        problem = Problem(field="password", value=None, message=message, remedy=remedy)
        raise TooManyError(problem, seconds)
    right = matches(account.password if account else None, password)
    if account is not None and right and not account.disabled:
        failures.forgive(database(), person, address)
    return right


def need(way: str) -> None:
    """Raise NotFoundError where this way to sign in is not enabled."""
    if way not in settings().ways:
        raise NotFoundError(f"Sign-in by {way} is not enabled here.")


def _page(name: str = "", problems: tuple[Problem, ...] = ()) -> str:
    return render_template(
        "sign_in.html",
        name=name,
        problems=problems,
        next=target(),
        ways=settings().ways,
        empty="password" in settings().ways and not accounts.can_sign_in(database()),
    )


def _welcome(account: Account, secret: str, problems: tuple[Problem, ...] = ()) -> Response:
    # The address is a secret; like all pages it is told to this host alone. A policy that tells
    # nobody would also make browsers send the form without the Origin that a change needs.
    return make_response(
        render_template("welcome.html", account=account, secret=secret, problems=problems)
    )
