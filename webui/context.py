"""Helpers of every request: settings, database, checked query parameters and redirects."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, cast

import flask
from flask import Response, current_app, request

from db.database import Database
from jobs.errors import nearest, refuse
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


def same_page(anchor: str, **changed: str | int | None) -> str:
    """The address of the page that is shown with other parameters; None leaves one out."""
    assert request.endpoint is not None
    kept = {**request.args.to_dict(), **changed}
    arguments: dict[str, Any] = {**(request.view_args or {}), **kept, "_anchor": anchor}
    return flask.url_for(request.endpoint, **arguments)


def attachment(
    body: str | Generator[str, None, None] | Generator[bytes, None, None], kind: str, name: str
) -> Response:
    """A response that browsers save as a file of this name.

    The first part is made now, while an error can still be told.
    """
    if isinstance(body, str):
        response = Response(body, mimetype=kind)
    else:
        parts: Iterable[Any] = chain(list(islice(body, 1)), body)
        response = Response(parts, mimetype=kind)
        # A body that is never read (HEAD, or a reader that left) must give its space back, too.
        response.call_on_close(body.close)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
