"""The cookies with which people sign in."""

from __future__ import annotations

from flask import Response, request

from webui.accounts.proxies import is_https
from webui.context import settings

SESSION, ERRAND = "headwise", "headwise-sign-in"
"""Names of the cookies: a session's secret, and a sign-in that is under way elsewhere."""
ERRAND_SECONDS = 600
_SECURE = "__Host-"
"""Behind HTTPS the prefix keeps sibling host names from setting a cookie."""


def read(name: str = SESSION) -> str | None:
    """The value that the browser sent."""
    return request.cookies.get(_full(name))


def give(response: Response, value: str, name: str = SESSION) -> Response:
    """Let the browser keep something: out of scripts' and other sites' reach."""
    seconds = int(settings().session_days * 86_400) if name == SESSION else ERRAND_SECONDS
    response.set_cookie(
        _full(name),
        value,
        max_age=seconds,
        path="/",
        secure=is_https(),
        httponly=True,
        samesite="Lax",
    )
    return response


def take(response: Response, name: str = SESSION) -> Response:
    """Let the browser forget it; with a session's secret also the pages that it kept."""
    full, secure = _full(name), is_https()
    response.delete_cookie(full, path="/", secure=secure, httponly=True, samesite="Lax")
    if name == SESSION:
        response.headers["Clear-Site-Data"] = '"cache"'
    return response


def _full(name: str) -> str:
    return (_SECURE if is_https() else "") + name
