"""Answers to pages and programs that ask again and again: 304 as long as nothing has changed.

A view with `conditional` is called only where the version of what it shows has changed, so that a
hundred open pages cost a hundred small queries. JSON carries the version in its ETag header; every
other answer of the API carries its hash there. A page writes the version beside its live parts
(`live_tag()`), where its script finds it; it has no ETag itself, so that opening a page never shows
a browser's old copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, ParamSpec

from flask import Response, g, request

from db.reads import versions
from webui.accounts.person import person
from webui.assets import VERSION
from webui.context import database, settings

P = ParamSpec("P")
View = Callable[P, Any]


def conditional(version: Callable[P, object]) -> Callable[[View[P]], View[P]]:
    """Answer 304 where `version`, called with the view's arguments, is what the client has."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def answer(*args: P.args, **kwargs: P.kwargs) -> Any:
            note_version(version(*args, **kwargs))
            known = request.if_none_match
            # `*` is any version of what is there, which the view finds out.
            if known.contains_weak(g.live_tag) and not known.star_tag:
                return Response(status=304)
            return view(*args, **kwargs)

        return answer

    return decorate


def note_version(version: object) -> None:
    """Let the answer's tag be that of a version, and not of what only the clock changes."""
    # What a person may do is on the page, too.
    who = person()
    reader = who and (who.folded, who.role.value)
    shown = repr((VERSION, reader, request.full_path, version))
    g.live_tag = hashlib.sha256(shown.encode()).hexdigest()[:16]


def add_tag(response: Response) -> Response:
    """Give an answer of the API its ETag, and answer 304 to clients that have it."""
    seen = request.method in ("GET", "HEAD") and response.status_code in (200, 304)
    if seen and request.path.startswith("/api/") and not response.is_streamed:
        tag = g.get("live_tag") or hashlib.sha256(response.get_data()).hexdigest()[:16]
        response.set_etag(tag, weak=True)
        if request.if_none_match.contains_weak(tag):
            response.status_code = HTTPStatus.NOT_MODIFIED
            response.set_data(b"")
            del response.headers["Content-Type"]
    return response


def live_tag() -> str:
    """The version of the page that is being rendered, as its script sends it back."""
    return f'W/"{g.live_tag}"'


def job_version(job_id: int) -> object:
    """The version of a job."""
    return jobs_version([job_id])


def jobs_version(job_ids: list[int]) -> object:
    """The version of several jobs, in this order."""
    return job_ids, versions.of_jobs(database(), job_ids, settings().heartbeat_seconds)
