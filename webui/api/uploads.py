"""Data files in the JSON API: uploads, and files in allowed folders."""

from __future__ import annotations

from typing import BinaryIO, cast

from flask import Blueprint, Response, jsonify, request

from jobs.errors import refuse
from jobs.inputs.data import allowed_path, preview
from jobs.inputs.uploads import save_upload
from webui.api.requests import read_json
from webui.context import settings

blueprint = Blueprint("upload_api", __name__, url_prefix="/api/v1")


@blueprint.post("/uploads")
def upload() -> tuple[Response, int]:
    """Store a data file (multipart field `file`) and show its head."""
    file = request.files.get("file")
    if file is None or not file.filename:
        raise refuse("file", None, "is missing", "Send multipart/form-data with a field 'file'.")
    path = save_upload(cast(BinaryIO, file.stream), file.filename, settings())
    head = preview(path, settings())
    return jsonify(
        {"path": str(path), "name": path.name, "columns": head.columns, "rows": _shown(head.rows)}
    ), 201


@blueprint.post("/preview")
def preview_file() -> Response:
    """Columns and first rows of a data file in an allowed folder: {"path": ...}."""
    raw = read_json()
    given = raw.get("path") if isinstance(raw, dict) else None
    if not isinstance(given, str) or not given.strip():
        raise refuse("data.path", given, "must be a path", 'Send {"path": "..."}.')
    path = allowed_path("data.path", given, settings())
    if not path.is_file():
        raise refuse("data.path", given, "no such file", "Check the path; it is on the server.")
    head = preview(path, settings())
    return jsonify({"path": given, "columns": head.columns, "rows": _shown(head.rows)})


def _shown(rows: list[dict[str, object]]) -> list[dict[str, str]]:
    return [{key: str(value)[:200] for key, value in row.items()} for row in rows]
