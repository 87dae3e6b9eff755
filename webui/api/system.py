"""Processes in the JSON API, and addresses that it does not have."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from db.ops import fleet
from jobs.errors import NotFoundError
from webui.context import database, settings

blueprint = Blueprint("system_api", __name__, url_prefix="/api/v1")


@blueprint.get("/system")
def system() -> Response:
    """Schedulers, workers and the broker as last reported, and the notices for jobs that wait."""
    opened, own = database(), settings()
    workers = Counter(worker.condition for worker in fleet.list_workers(opened, own))
    return jsonify(
        {
            "notices": [asdict(notice) for notice in fleet.notices(opened, own)],
            "schedulers": [asdict(one) for one in fleet.list_schedulers(opened, own)],
            "workers": dict(workers),
        }
    )


@blueprint.get("/workers")
def list_workers() -> Response:
    """Worker processes, last seen first."""
    found = fleet.list_workers(database(), settings())
    return jsonify({"workers": [asdict(worker) for worker in found]})


@blueprint.route("/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def unknown(rest: str) -> Response:
    """Everything else under this version."""
    raise NotFoundError(f"There is no /api/v1/{rest[:100]}; see docs/api.md.")
