"""What operators ask: is the process up, is it ready, and its numbers for Prometheus."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from db.ops import metrics as numbers
from db.ops.checks import UNKNOWN, web_health
from db.ops.metrics import Numbers
from jobs.errors import UnavailableError
from webui.context import database, settings
from webui.metrics import MetricsCache

blueprint = Blueprint("ops", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """The database answers in time and its schema is current; 503 otherwise, never an error."""
    found = web_health(database())
    body = {"status": "ready"} if found.ok else {"status": found.state, "reason": found.message}
    response = jsonify(body)
    response.status_code = 200 if found.ok else 503
    if found.state == UNKNOWN:
        response.headers["Retry-After"] = "5"
    return response


@blueprint.get("/metrics")
def metrics() -> Response:
    """Read in the database, at most every few seconds: no counts of this process alone."""
    cache: MetricsCache = current_app.extensions["headwise-metrics"]
    return Response(cache.get(_read), content_type=CONTENT_TYPE_LATEST)


def _read() -> Numbers | None:
    try:
        return numbers.read_numbers(database(), settings())
    except UnavailableError:
        return None
