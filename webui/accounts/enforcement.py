"""The one place where requests are let in: who is it, and may they do this?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from hmac import compare_digest

from flask import Flask, Response, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from db.accounts import accounts, owners, sessions, tokens
from db.accounts.accounts import Account
from db.accounts.audit import made
from jobs.errors import ConflictError, ForbiddenError, SignInError, refuse
from jobs.people import Role, Submitter, submitter
from webui.accounts import cookies, trail
from webui.accounts.permissions import OWNED, Permission, Rule
from webui.accounts.person import NOBODY_ELSE, Person, may, may_change, person
from webui.accounts.proxies import is_trusted
from webui.context import database, settings

_TOKEN = re.compile(rf"{tokens.PREFIX}[\w-]{{40,}}")
_SAFE = ("GET", "HEAD", "OPTIONS")
_ANYBODYS = Rule(permission=Permission.PUBLIC)


def install(app: Flask, rules: Mapping[str, Rule]) -> None:
    """Ask every request of the application who it is of."""

    def admit() -> ResponseReturnValue | None:
        g.rule = rules.get(request.endpoint) if request.endpoint else _ANYBODYS
        return _admit(g.rule)

    app.before_request(admit)
    app.after_request(_after)
    app.teardown_request(_forget)
    app.context_processor(lambda: {"person": person(), "signs_in": bool(settings().ways)})
    app.jinja_env.globals.update(may=may, may_change=may_change)


def _admit(rule: Rule | None) -> ResponseReturnValue | None:
    made.set([])
    _refuse_token_in_address()
    if rule is not None and rule.permission is Permission.PUBLIC:
        return None
    if request.endpoint == "ops.metrics" and _is_prometheus():
        return None
    g.person = _who() if settings().ways else NOBODY_ELSE
    if g.person is None:
        return _ask_to_sign_in()
    if rule is None:
        raise ForbiddenError(f"{request.path} is closed: it declares no permission.")
    _check(g.person, rule.permission)
    if settings().ways:
        submitter.set(_submitter(g.person))
    return None


def _submitter(found: Person) -> Submitter:
    if found.may(Role.ADMIN):
        return Submitter(name=found.name, for_others=True)
    return Submitter(name=found.name, for_others=False, highest_priority=settings().member_priority)


def _refuse_token_in_address() -> None:
    """Refuse tokens where logs, histories and other sites would see them."""
    for key, value in request.args.items():
        if _TOKEN.search(value) or (key in ("access_token", "token") and value):
            message = "is in the address, which logs and histories keep"
            remedy = "Send it as `Authorization: Bearer TOKEN`, and revoke this one."
            raise refuse(key, None, f"a token {message}", remedy)


def _is_prometheus() -> bool:
    """True if the request has the secret of the settings: no database is asked."""
    secret, given = settings().metrics_token, request.headers.get("Authorization", "")
    return bool(secret) and compare_digest(given.encode(), f"Bearer {secret}".encode())


def _who() -> Person | None:
    """The person that a token, a cookie or a proxy proves; None without. Raises SignInError."""
    given = request.headers.get("Authorization")
    if given is not None:
        return _of_token(given)
    secret = cookies.read()
    found = sessions.find(database(), secret) if secret else None
    number, account = found or (None, _of_proxy())
    if account is None:
        return None
    if request.method not in _SAFE and not _says_its_origin():
        raise ForbiddenError(
            "The browser does not say which page sent this. Send it from a page of the dashboard; "
            "programs use a token."
        )
    return Person(
        name=account.name,
        folded=account.folded,
        role=account.role,
        account=account,
        session=number,
    )


def _of_token(given: str) -> Person:
    scheme, _, secret = given.partition(" ")
    if scheme.lower() != "bearer":
        raise SignInError(f"Authorization: {scheme[:20]} is not understood. Send `Bearer TOKEN`.")
    found = tokens.find(database(), secret.strip())
    if found is None:
        raise SignInError("The token is unknown, revoked or expired. Make another one.")
    account = found.account
    role = min(account.role, found.scope.role, key=lambda one: one.rank)
    return Person(name=account.name, folded=account.folded, role=role, account=account, token=found)


def _of_proxy() -> Account | None:
    """The account of the person whom a trusted proxy names; a new one for somebody new."""
    header = request.headers.get(settings().proxy_header, "").strip()
    name = header.encode("latin-1").decode(errors="replace")  # WSGI's headers are bytes
    if "proxy" not in settings().ways or not name or not is_trusted(request.remote_addr or ""):
        return None
    account = accounts.find(database(), name)
    if account is None:
        account = _new_of_proxy(name)
    if account.disabled:
        raise ForbiddenError(f"The account {account.name} is disabled.")
    if accounts.note_visit(database(), account):
        trail.write("sign in", user=account.folded, way="proxy")
    return account


def _new_of_proxy(name: str) -> Account:
    role = Role(settings().new_role)
    with suppress(ConflictError):  # another request of theirs has just added it
        added = accounts.add(database(), name, role)
        trail.write_account("add account", added, way="proxy", role=role.value)
    return accounts.get(database(), name)


def _says_its_origin() -> bool:
    """True if the browser says where the request comes from; `is_foreign` has looked at it."""
    return "Origin" in request.headers or "Sec-Fetch-Site" in request.headers


def _ask_to_sign_in() -> ResponseReturnValue:
    """Lead a browser that opens a page to the sign-in. Raises SignInError for everything else."""
    opens = request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    page = "text/html" in request.headers.get("Accept", "") and not request.path.startswith("/api/")
    if request.method == "GET" and opens and page:
        there = request.full_path if request.query_string else request.path
        return redirect(url_for("sign_in.show", next=None if there == "/" else there), 303)
    raise SignInError("You are not signed in. Programs send `Authorization: Bearer TOKEN`.")


def _check(found: Person, permission: Permission) -> None:
    """Raise ForbiddenError where the person may not do this."""
    if permission is Permission.READ:
        return
    if permission is Permission.OWN:
        if found.token and found.role is not Role.ADMIN:
            raise ForbiddenError("Only a token with the scope admin may change the account.")
        return
    if permission is Permission.ADMIN:
        _need(found, Role.ADMIN, "Only administrators may do this.")
        return
    _need(
        found,
        Role.MEMBER,
        "Viewers can read, but not submit or change anything. "
        "An administrator can make you a member.",
    )
    if permission in OWNED and not found.may(Role.ADMIN):
        what = OWNED[permission]
        number = (request.view_args or {}).get(what.argument, 0)
        owner = owners.owner_of(database(), what.table, number)
        if owner is not None and not found.may_change(owner):
            raise ForbiddenError(
                f"{what.noun.capitalize()} {number} belongs to {owner or 'everyone'}; "
                "only its owner and administrators may change it."
            )


def _need(found: Person, role: Role, message: str) -> None:
    if found.may(role):
        return
    if found.token and found.token.account.role.rank >= role.rank:
        needed = next(scope for scope in tokens.Scope if scope.role is role)
        message = (
            f"The token has the scope {found.token.scope.value}, and this needs {needed.value}. "
            "Make another one on your account's page."
        )
    raise ForbiddenError(message)


def _after(response: Response) -> Response:
    rule: Rule | None = g.get("rule")
    if rule is not None and rule.action and person() is not None:
        g.made = made.get() or []
        trail.of_request(rule, response)
    if settings().ways and rule is not _ANYBODYS and request.endpoint != "assets.serve":
        # What one person sees must not be shown to the next one at the same browser.
        response.headers["Cache-Control"] = "private, no-store"
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="headwise"'
    return response


def _forget(_error: BaseException | None) -> None:
    submitter.set(None)
    made.set(None)
