"""Addresses for operators: liveness, readiness, and metrics for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Flask, Response, current_app, jsonify
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from db.ops import conditions
from db.ops import metrics as numbers
from db.ops.checks import UNKNOWN, Health, Latest, schema_health
from db.ops.conditions import Level, Subject
from db.ops.metrics import Numbers
from webui.context import Context
from webui.metrics import render

blueprint = Blueprint("ops", __name__)

CACHED_SECONDS = 5.0
"""Time for which metrics are kept, so that many scrapes cost one read."""
PATIENCE = 1.5
"""Seconds to wait for the database: probes and scrapes want an answer within two."""


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The state of this dashboard, and the levels of the installation's conditions."""

    health: Health
    levels: dict[Subject, Level]
    """Without messages: the address needs no login."""


def watch(app: Flask) -> None:
    """Set up what these addresses read. `create_app` calls it."""
    own: Context = app.extensions["headwise"]

    def ready() -> Readiness:
        health = schema_health(own.database)
        found = conditions.examine(own.database, own.settings)
        return Readiness(health=health, levels=conditions.worst(found))

    def read() -> Numbers:
        return numbers.read_numbers(own.database, own.settings)

    app.extensions["headwise-ready"] = Latest(ready)
    app.extensions["headwise-metrics"] = Latest(read, CACHED_SECONDS)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Report that the process is up."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """Report that the database answers in time and its schema fits; 503 otherwise.

    What else is wrong with the installation is listed, but makes no dashboard useless.
    """
    latest: Latest[Readiness] = current_app.extensions["headwise-ready"]
    found, error = latest.get(PATIENCE)
    if found is None or error is not None:
        response = jsonify({"status": UNKNOWN, "reason": error})
        response.headers["Retry-After"] = "5"
        response.status_code = 503
        return response
    body: dict[str, object] = {"status": "ready"}
    if not found.health.ok:
        body = {"status": found.health.state, "reason": found.health.message}
    response = jsonify(body | {"conditions": found.levels})
    response.status_code = 200 if found.health.ok else 503
    return response


@blueprint.get("/metrics")
def metrics() -> Response:
    """Return metrics of the whole installation, read from the database every few seconds."""
    latest: Latest[Numbers] = current_app.extensions["headwise-metrics"]
    found, error = latest.get(PATIENCE)
    text = render(found, latest.age, up=error is None)
    return Response(text, content_type=CONTENT_TYPE_LATEST)
