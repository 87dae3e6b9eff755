"""Answers to pages and programs that ask again and again: 304 as long as nothing has changed.

A view with `conditional` is called only where the version of what it shows has changed, so that a
hundred open pages cost a hundred small queries. JSON carries the version in its ETag header. A page
writes it beside its live parts (`live_tag()`), where its script finds it; it has no ETag itself, so
that opening a page never shows a browser's old copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Response, g, make_response, request
from flask.typing import ResponseReturnValue

from db.reads import versions
from webui.assets import VERSION
from webui.context import database, settings

P = ParamSpec("P")
View = Callable[P, ResponseReturnValue]


def conditional(version: Callable[P, object]) -> Callable[[View[P]], View[P]]:
    """Answer 304 where `version`, called with the view's arguments, is what the client has."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def answer(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            shown = repr((VERSION, request.full_path, version(*args, **kwargs)))
            g.live_tag = hashlib.sha256(shown.encode()).hexdigest()[:16]
            if request.if_none_match.contains_weak(g.live_tag):
                response = Response(status=304)
            else:
                response = make_response(view(*args, **kwargs))
            if request.path.startswith("/api/"):
                response.set_etag(g.live_tag, weak=True)
            return response

        return answer

    return decorate


def live_tag() -> str:
    """The version of the page that is being rendered, as its script sends it back."""
    return f'W/"{g.live_tag}"'


def job_version(job_id: int) -> object:
    """The version of a job."""
    return jobs_version([job_id])


def jobs_version(job_ids: list[int]) -> object:
    """The version of several jobs, in this order."""
    return job_ids, versions.of_jobs(database(), job_ids, settings().heartbeat_seconds)
