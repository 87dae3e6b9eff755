"""Addresses for operators: liveness, readiness, and metrics for Prometheus."""

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
    """Report that the process is up."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """Report that the database answers in time and its schema fits; 503 otherwise."""
    found = web_health(database())
    body = {"status": "ready"} if found.ok else {"status": found.state, "reason": found.message}
    response = jsonify(body)
    response.status_code = 200 if found.ok else 503
    if found.state == UNKNOWN:
        response.headers["Retry-After"] = "5"
    return response


@blueprint.get("/metrics")
def metrics() -> Response:
    """Return metrics of the whole installation, read from the database every few seconds."""
    cache: MetricsCache = current_app.extensions["headwise-metrics"]
    return Response(cache.get(_read), content_type=CONTENT_TYPE_LATEST)


def _read() -> Numbers | None:
    try:
        return numbers.read_numbers(database(), settings())
    except UnavailableError:
        return None
