"""The limits of each address: the room that its requests run in, and the bytes of a body."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus

from flask import Flask, abort, request
from werkzeug.exceptions import HTTPException

from webui.context import settings

SMALL_BODY = 1 << 20
"""Largest body of a request that carries no file, in bytes."""
REFUSAL = "headwise.refusal"
"""Key of a WSGI environment: a status to answer instead of calling the view."""


class RoomName(Enum):
    """Kinds of requests that do not wait for each other."""

    HEALTH = "health"
    OPERATORS = "operators"
    PAGES = "pages"
    CHECKS = "checks"
    """Read data files and models, and wait for an identity provider."""
    CONSOLE = "console"
    FIGURES = "figures"
    """Wait for a process that draws or writes a PDF."""
    DOWNLOADS = "downloads"
    """Hold a connection to the database until the last byte."""


ROOMS = {
    "ops.healthz": RoomName.HEALTH,
    "ops.readyz": RoomName.OPERATORS,
    "ops.metrics": RoomName.OPERATORS,
    "console.show": RoomName.CONSOLE,
    "console.run": RoomName.CONSOLE,
    "console.cell": RoomName.CONSOLE,
    "console.draw_chart": RoomName.CONSOLE,
    "console.download": RoomName.CONSOLE,
    "results.export": RoomName.DOWNLOADS,
    "watch.download": RoomName.DOWNLOADS,
    "attack.try_now": RoomName.CHECKS,
    "lab.create": RoomName.CHECKS,
    "matrices.compute_matrix": RoomName.CHECKS,
    "head_api.compute_matrix": RoomName.CHECKS,
    "first_visit.run_demo": RoomName.CHECKS,
    "figure_api.get_figure": RoomName.FIGURES,
    "figure_api.get_example_figure": RoomName.FIGURES,
    "figure_api.get_study_figure": RoomName.FIGURES,
    "figure_api.get_compared_figure": RoomName.FIGURES,
    "figure_api.get_figure_of_studies": RoomName.FIGURES,
    "figure_api.get_queue_figure": RoomName.FIGURES,
    "figure_api.get_worker_figure": RoomName.FIGURES,
    "report_api.get_report": RoomName.FIGURES,
    "report_api.get_pdf_report": RoomName.FIGURES,
    "tables_api.run_sql": RoomName.CONSOLE,
    "tables_api.explain_sql": RoomName.CONSOLE,
    "tables_api.run_sql_as_csv": RoomName.CONSOLE,
    "tables_api.run_sql_as_json": RoomName.CONSOLE,
    "tables_api.run_sql_as_parquet": RoomName.CONSOLE,
    "tables_api.get_csv_table": RoomName.DOWNLOADS,
    "tables_api.get_arrow_table": RoomName.DOWNLOADS,
    "job_api.download_log": RoomName.DOWNLOADS,
    "quick_api.explain": RoomName.CHECKS,
    "quick_api.try_attack": RoomName.CHECKS,
    "job_api.check_job": RoomName.CHECKS,
    "job_api.create_job": RoomName.CHECKS,
    "new_job.check_form": RoomName.CHECKS,
    "new_job.create": RoomName.CHECKS,
    "new_job.preview": RoomName.CHECKS,
    "recurring_api.create_recurring": RoomName.CHECKS,
    "studies.check_form": RoomName.CHECKS,
    "studies.create": RoomName.CHECKS,
    "study_api.check": RoomName.CHECKS,
    "study_api.create_study": RoomName.CHECKS,
    "study_api.restart": RoomName.CHECKS,
    "sign_in.begin_oidc": RoomName.CHECKS,
    "sign_in.finish_oidc": RoomName.CHECKS,
    "account.link_identity": RoomName.CHECKS,
    "upload_api.preview_file": RoomName.CHECKS,
    "upload_api.upload": RoomName.CHECKS,
}
"""Rooms by endpoint; every other request is a page's."""
WITH_FILES = frozenset({"new_job.create", "studies.create", "upload_api.upload"})
"""Endpoints whose bodies may carry a file."""


def most_bytes(endpoint: str | None, upload_megabytes: int) -> int:
    """The largest body that an endpoint takes, in bytes."""
    return SMALL_BODY + ((upload_megabytes << 20) if endpoint in WITH_FILES else 0)


def endpoint_of(app: Flask, method: str, path: str) -> str | None:
    """The endpoint that a request reaches, None where it reaches none."""
    try:
        endpoint, _ = app.url_map.bind("localhost").match(path, method)
    except HTTPException:
        return None
    return str(endpoint)


def limit_body() -> None:
    """Hold a request to its budget; refuse one that the server could not take whole."""
    request.max_content_length = most_bytes(request.endpoint, settings().upload_megabytes)
    if refusal := request.environ.get(REFUSAL):
        abort(HTTPStatus(refusal))
