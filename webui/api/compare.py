"""The comparison of jobs in the JSON API."""

from __future__ import annotations

from flask import Blueprint

from scheduler.comparison import comparison_json
from scheduler.comparison.sides import parse_jobs, sides_of_jobs
from webui.api.models.compare import ComparedJobsAnswer, ComparedJobsQuery
from webui.context import database
from webui.contract.operations import operation

blueprint = Blueprint("compare_api", __name__, url_prefix="/api/v1")


@blueprint.get("/compare")
@operation("Results", ComparedJobsAnswer)
def compare_jobs(query: ComparedJobsQuery) -> ComparedJobsAnswer:
    """Compare two to eight jobs: what differs, accuracy, agreement, and which figures there are."""
    sides = sides_of_jobs(database(), parse_jobs(query.jobs))
    return ComparedJobsAnswer(**comparison_json(database(), sides))
