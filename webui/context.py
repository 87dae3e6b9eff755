"""Helpers of every request: settings, database, checked query parameters and redirects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import flask
from flask import Response, current_app, request

from db.database import Database
from jobs.errors import Problem, nearest, refuse
from jobs.settings import Settings

MAX_ID = 2**31 - 1
"""Largest number that an integer column holds."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The application's constant state."""

    settings: Settings
    database: Database


def context() -> Context:
    """The running application's context."""
    found: Context = current_app.extensions["headwise"]
    return found


def database() -> Database:
    """The running application's database."""
    return context().database


def settings() -> Settings:
    """The running application's settings."""
    return context().settings


def integer(
    name: str,
    default: int,
    low: int = 0,
    high: int = MAX_ID,
    source: Mapping[str, str] | None = None,
) -> int:
    """A whole number from the query string. Raises InputError."""
    raw = (request.args if source is None else source).get(name, "").strip()
    if not raw:
        return default
    value = int(raw) if raw.removeprefix("-").isdecimal() and len(raw) < 12 else None
    if value is None or not low <= value <= high:
        raise refuse(
            name, raw, f"must be a whole number from {low:,} to {high:,}", f"Default: {default}."
        )
    return value


def optional_integer(name: str) -> int | None:
    """A whole number from the query string, None where it is absent. Raises InputError."""
    return integer(name, 0) if request.args.get(name, "").strip() else None


def choice(name: str, known: Collection[str], default: str = "") -> str:
    """One of the `known` values from the query string. Raises InputError."""
    raw = request.args.get(name, "").strip()
    if not raw:
        return default
    if raw not in known:
        raise refuse(name, raw, "unknown value", nearest(raw, known))
    return raw


def words(name: str, longest: int = 200) -> str:
    """Free text from the query string. Raises InputError."""
    raw = clean(request.args.get(name, "")).strip()
    if len(raw) > longest:
        raise refuse(name, raw, f"is longer than {longest} characters", "Shorten it.")
    return raw


def clean(value: str) -> str:
    """`value` without NUL characters, which PostgreSQL cannot store in text."""
    return value.replace("\0", "")


def redirect(location: str, code: int = 303) -> Response:
    """Redirect the browser; with the default code it follows with GET."""
    return cast(Response, flask.redirect(location, code))


def attachment(body: str | Iterable[str] | Iterable[bytes], kind: str, name: str) -> Response:
    """A response that browsers save as a file of this name."""
    response = Response(body, mimetype=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem as the API sends it, with long values cut."""
    value = problem.value
    if isinstance(value, str) and len(value) > 200:
        value = value[:199] + "…"
    elif not isinstance(value, str | int | float | bool | None):
        shown = repr(value)
        value = shown if len(shown) <= 200 else shown[:199] + "…"
    return {
        "field": problem.field,
        "value": value,
        "message": problem.message,
        "remedy": problem.remedy,
    }


def client() -> str:
    """The client that takes turns with others: an address, and behind a proxy its user.

    Nothing else depends on it. A name is believed only where a proxy is configured, since the
    dashboard itself has no login.
    """
    address = request.remote_addr or ""
    with suppress(ValueError):
        parsed = ip_address(address)
        if parsed.version == 6:  # one client has a whole network of them
            address = str(ip_network((parsed, 64), strict=False))
    user = request.authorization.get("username") if request.authorization else None
    return f"{user}@{address}" if user and settings().trusted_hosts else address


def is_host_of(host: str, names: Collection[str]) -> bool:
    """True if a Host header matches one of `names`; `.example.org` matches every subdomain."""
    own = _address(f"//{host}").hostname or ""
    return any(
        own == name.removeprefix(".") or (name.startswith(".") and own.endswith(name))
        for name in names
    )


def is_foreign() -> bool:
    """True if the browser sends this request for a page of another site."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    # Without the scheme: a proxy may end TLS before us.
    return origin is not None and _address(origin).netloc != request.host


def _address(given: str) -> SplitResult:
    """The parts of an address that a client sent; none of one that is no address."""
    try:
        return urlsplit(given)
    except ValueError:  # brackets without an IPv6 address in them
        return urlsplit("")
