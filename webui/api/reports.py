"""Reports of studies in the JSON API, as files."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response

from scheduler.report import POLICY, study_report
from scheduler.report.pdf import to_pdf
from webui.context import database
from webui.contract.operations import operation
from webui.figures.drawing import content

TAG = "Studies"
ERRORS = (HTTPStatus.SERVICE_UNAVAILABLE,)
HTML, PDF = "text/html", "application/pdf"

blueprint = Blueprint("report_api", __name__, url_prefix="/api/v1/studies")


@blueprint.get("/<int(max=2147483647):study>/report.html")
@operation(TAG, media_types=(HTML,), errors=ERRORS)
def get_report(study: int) -> Response:
    """Get a study as one HTML file: question, method, findings, figures, tables and hashes.

    It needs no script and asks for nothing else. Steps without results are named as missing.
    """
    answer = _file(_html(study).encode(), HTML, study)
    # The file brings its styles and pictures, which the policy of pages does not allow.
    answer.headers["Content-Security-Policy"] = f"{POLICY}; base-uri 'none'; frame-ancestors 'none'"
    return answer


@blueprint.get("/<int(max=2147483647):study>/report.pdf")
@operation(TAG, media_types=(PDF,), errors=ERRORS)
def get_pdf_report(study: int) -> Response:
    """Get the same as PDF; 400 where the dashboard's machine lacks what makes it."""
    return _file(to_pdf(_html(study)), PDF, study)


def _html(study: int) -> str:
    return study_report(database(), study, lambda figure: content(figure, "svg"))


def _file(body: bytes, mimetype: str, study: int) -> Response:
    ending = mimetype.rpartition("/")[2]
    answer = Response(body, mimetype=mimetype)
    name = f"headwise-study-{study}-report.{ending}"
    answer.headers["Content-Disposition"] = f'inline; filename="{name}"'
    return answer
