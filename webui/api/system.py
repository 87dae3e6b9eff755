"""Processes in the JSON API."""

from __future__ import annotations

from collections import Counter

from flask import Blueprint

from db.ops import conditions, fleet
from webui.api.models.system import SystemAnswer, WorkersAnswer
from webui.context import database, settings
from webui.contract import cursors
from webui.contract.models import WholePageQuery
from webui.contract.operations import operation

TAG = "Operations"

blueprint = Blueprint("system_api", __name__, url_prefix="/api/v1")


@blueprint.get("/system")
@operation(TAG, SystemAnswer)
def system() -> SystemAnswer:
    """Get schedulers and workers as last reported, and the notices for jobs that wait."""
    opened, own = database(), settings()
    return SystemAnswer(
        notices=conditions.notices(opened, own),
        schedulers=fleet.list_schedulers(opened, own),
        workers=Counter(worker.condition for worker in fleet.list_workers(opened, own)),
    )


@blueprint.get("/workers")
@operation(TAG, WorkersAnswer)
def list_workers(query: WholePageQuery) -> WorkersAnswer:
    """List worker processes, last seen first."""
    found = fleet.list_workers(database(), settings())
    shown, following = cursors.slice_rows(found, query.cursor, query.limit)
    return WorkersAnswer(workers=list(shown), next=following)
