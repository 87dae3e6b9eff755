"""Studies in the JSON API."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from db.reads import studies
from scheduler.serializers import checked_study_json, study_json
from scheduler.submission.study import check_study, control_study, restart_study, submit_study
from webui.api.requests import limit_and_offset, read_json
from webui.context import database, settings

blueprint = Blueprint("study_api", __name__, url_prefix="/api/v1/studies")


@blueprint.get("")
def list_studies() -> Response:
    """A page of studies, newest first."""
    limit, offset = limit_and_offset()
    found = studies.list_studies(database(), limit, offset)
    return jsonify(
        {"studies": [asdict(one) for one in found], "total": studies.count_studies(database())}
    )


@blueprint.post("")
def create_study() -> tuple[Response, int]:
    """Submit a study, or any jobs that may need each other, in one transaction."""
    found = submit_study(check_study(read_json(), settings(), database()), database())
    return jsonify(asdict(found)), 201


@blueprint.post("/check")
def check() -> Response:
    """Check a study and estimate it; nothing is written."""
    return jsonify(checked_study_json(check_study(read_json(), settings(), database())))


@blueprint.get("/<int(max=2147483647):study>")
def get_study(study: int) -> Response:
    """A study, its jobs, and what they found."""
    return jsonify(study_json(database(), study))


@blueprint.post("/<int(max=2147483647):study>/restart")
def restart(study: int) -> tuple[Response, int]:
    """Submit a study that has ended once more: jobs that succeeded are reused."""
    again = restart_study(study, settings(), database())
    return jsonify(study_json(database(), again.study)), 201


@blueprint.post("/<int(max=2147483647):study>/<action>")
def control(study: int, action: str) -> Response:
    """Pause, resume or cancel."""
    control_study(database(), study, action)
    return jsonify(study_json(database(), study))
