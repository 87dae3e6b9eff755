"""Whole tables in the JSON API: a job's rows of the published views, and SQL over all of them."""

from __future__ import annotations

from flask import Blueprint, Response

from db.console.console import Console
from db.results import export as exports
from webui.accounts import trail
from webui.accounts.person import client
from webui.api.models.tables import SqlAnswer, SqlBody, SqlPlanAnswer
from webui.context import attachment, database, settings
from webui.contract.operations import operation, streams
from webui.pages.console.query import MEDIA_TYPES, as_file
from webui.pages.results.heads_and_examples import csv_table, find_table

TAG = "Tables"
ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv"

blueprint = Blueprint("tables_api", __name__, url_prefix="/api/v1")


@blueprint.get("/jobs/<int(max=2147483647):job_id>/tables/<name>.arrow")
@operation(TAG, media_types=[ARROW])
@streams
def get_arrow_table(job_id: int, name: str) -> Response:
    """Stream all rows of a published view that belong to a job, as an Arrow IPC stream."""
    view = find_table(job_id, name)
    body = exports.arrow_parts(view, exports.chunks(database(), view, job_id))
    return attachment(body, ARROW, f"headwise-job-{job_id}-{name}.arrow")


@blueprint.get("/jobs/<int(max=2147483647):job_id>/tables/<name>.csv")
@operation(TAG, media_types=[CSV])
@streams
def get_csv_table(job_id: int, name: str) -> Response:
    """Stream the same as CSV (RFC 4180)."""
    return csv_table(job_id, name)


@blueprint.post("/sql")
@operation(TAG, SqlAnswer)
def run_sql(json: SqlBody) -> SqlAnswer:
    """Run a query on the published views, read-only and limited in time and size."""
    trail.write("sql", sql=json.query)
    found = Console(settings(), client()).run(json.query, max_rows=json.max_rows)
    return SqlAnswer(
        columns=list(found.columns),
        rows=[list(row) for row in found.rows],
        cut_by=found.cut_by,
        seconds=found.seconds,
        types=list(found.types),
    )


@blueprint.post("/sql/plan")
@operation(TAG, SqlPlanAnswer)
def explain_sql(json: SqlBody) -> SqlPlanAnswer:
    """Get the database's plan for a query, which is checked like any other and not run."""
    trail.write("sql", sql=json.query)
    return SqlPlanAnswer(plan=Console(settings(), client()).explain(json.query))


@blueprint.post("/sql.csv")
@operation(TAG, media_types=[CSV])
def run_sql_as_csv(json: SqlBody) -> Response:
    """Run a query, and answer with all of its rows as CSV."""
    return as_file(json.query, "csv")


@blueprint.post("/sql.json")
@operation(TAG, media_types=[MEDIA_TYPES["json"]])
def run_sql_as_json(json: SqlBody) -> Response:
    """Run a query, and answer with all of its rows as JSON: an array of objects."""
    return as_file(json.query, "json")


@blueprint.post("/sql.parquet")
@operation(TAG, media_types=[MEDIA_TYPES["parquet"]])
def run_sql_as_parquet(json: SqlBody) -> Response:
    """Run a query, and answer with all of its rows as Parquet."""
    return as_file(json.query, "parquet")
