"""Studies in the JSON API."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint

from db.reads import studies
from db.reads.studies import StudyRow
from scheduler.comparison import studies_comparison_json
from scheduler.comparison.sides import sides_of_studies
from scheduler.serializers import checked_study_json, study_json, submitted_study_json
from scheduler.submission.study import check_study, control_study, restart_study, submit_study
from webui.api.models.studies import (
    CompareQuery,
    ComparisonAnswer,
    StudyAnswer,
    StudyPage,
    StudyQuery,
    StudyRowAnswer,
)
from webui.api.models.submissions import StudyBody, StudyCheckAnswer, StudySubmittedAnswer
from webui.context import database, settings
from webui.contract import cursors
from webui.contract.operations import operation

TAG = "Studies"
CONFLICT = (HTTPStatus.CONFLICT,)

blueprint = Blueprint("study_api", __name__, url_prefix="/api/v1/studies")


@blueprint.get("")
@operation(TAG, StudyPage)
def list_studies(query: StudyQuery) -> StudyPage:
    """List studies, newest first."""
    before = cursors.number(query.cursor)
    found = studies.list_studies(database(), query.limit + 1, query.offset, before=before)
    shown, following = cursors.cut(found, query.limit, lambda one: (one.id,))
    return StudyPage(
        studies=[_row(one) for one in shown],
        total=studies.count_studies(database()),
        next=following,
    )


@blueprint.post("")
@operation(TAG, StudySubmittedAnswer, statuses=(HTTPStatus.CREATED,), creates=True)
def create_study(json: StudyBody) -> tuple[StudySubmittedAnswer, int]:
    """Submit a study, or any jobs that may need each other, in one transaction.

    Problems of jobs are named `jobs.<step>.<field>`, those of `spec` as its own keys.
    """
    checked = check_study(json.raw, settings(), database())
    found = submit_study(checked, database())
    return StudySubmittedAnswer(**submitted_study_json(checked, found)), 201


@blueprint.post("/check")
@operation(TAG, StudyCheckAnswer)
def check(json: StudyBody) -> StudyCheckAnswer:
    """Check a study and estimate it; nothing is written."""
    return StudyCheckAnswer(**checked_study_json(check_study(json.raw, settings(), database())))


@blueprint.get("/compare")
@operation(TAG, ComparisonAnswer)
def compare(query: CompareQuery) -> ComparisonAnswer:
    """Compare two studies: what they found, and how far their rankings of heads agree."""
    sides = sides_of_studies(database(), (query.a, query.b))
    return ComparisonAnswer(**studies_comparison_json(database(), sides))


@blueprint.get("/<int(max=2147483647):study>")
@operation(TAG, StudyAnswer)
def get_study(study: int) -> StudyAnswer:
    """Get a study, its jobs, and what they found."""
    return _study(study)


@blueprint.post("/<int(max=2147483647):study>/restart")
@operation(TAG, StudyAnswer, statuses=(HTTPStatus.CREATED,), errors=CONFLICT, creates=True)
def restart(study: int) -> tuple[StudyAnswer, int]:
    """Submit an ended study again; jobs that succeeded are reused."""
    return _study(restart_study(study, settings(), database()).study), 201


@blueprint.post("/<int(max=2147483647):study>/<any(pause, resume, cancel):action>")
@operation(TAG, StudyAnswer, errors=CONFLICT)
def control(study: int, action: str) -> StudyAnswer:
    """Pause, resume or cancel every job of a study."""
    control_study(database(), study, action)
    return _study(study)


def _study(number: int) -> StudyAnswer:
    return StudyAnswer(**study_json(database(), number, settings()))


def _row(found: StudyRow) -> StudyRowAnswer:
    return StudyRowAnswer(**vars(found))
