"""Server-sent events: a job's progress, pushed to its page until the job is final."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

from flask import Blueprint, Response, abort

from db.database import Database
from jobs.errors import HeadwiseError
from webui.context import database
from webui.serializers import progress_json

POLL_SECONDS = 0.5
QUIET_SECONDS = 15.0
"""A comment is sent after this long without news: proxies close silent connections."""
LONGEST_SECONDS = 600.0
"""The browser connects anew after this long: no stream outlives a page that forgot it."""
MOST_STREAMS = 8
"""Each stream holds a server thread; further pages poll instead."""

blueprint = Blueprint("events", __name__)
_free = threading.BoundedSemaphore(MOST_STREAMS)


@blueprint.get("/jobs/<int(max=2147483647):job_id>/events")
def job_events(job_id: int) -> Response:
    """`progress` events, one `end` event when the job is final."""
    opened = database()
    first = progress_json(opened, job_id)
    if not _free.acquire(blocking=False):
        abort(503, "too many live pages are open; this one will poll")
    response = Response(_events(opened, job_id, first), mimetype="text/event-stream")
    response.call_on_close(_free.release)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _events(opened: Database, job_id: int, news: dict[str, object]) -> Iterator[str]:
    yield "retry: 3000\n\n"
    started = spoke = time.monotonic()
    last: dict[str, object] = {}
    while time.monotonic() - started < LONGEST_SECONDS:
        if news != last:
            yield f"event: progress\ndata: {json.dumps(news)}\n\n"
            last, spoke = news, time.monotonic()
        elif time.monotonic() - spoke > QUIET_SECONDS:
            yield ": still here\n\n"
            spoke = time.monotonic()
        if news["final"]:
            yield "event: end\ndata: {}\n\n"
            return
        time.sleep(POLL_SECONDS)
        try:
            news = progress_json(opened, job_id)
        except HeadwiseError:
            # Deleted, or the database is away: the page finds out when it connects again.
            return
