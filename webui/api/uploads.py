"""Data files in the JSON API: uploads, and files in allowed folders."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, BinaryIO, cast

from flask import Blueprint, request

from jobs.errors import refuse
from jobs.inputs.data.examples import Preview, data_file, preview
from jobs.inputs.data.uploads import save_upload
from webui.api.models.system import FileAnswer, FileBody, GuessedColumns, UploadAnswer
from webui.context import settings
from webui.contract.operations import operation, takes_files

TAG = "Data files"

blueprint = Blueprint("upload_api", __name__, url_prefix="/api/v1")


@blueprint.post("/uploads")
@operation(
    TAG,
    UploadAnswer,
    statuses=(HTTPStatus.CREATED,),
    creates=True,
)
@takes_files(file="JSON, CSV, TSV or Parquet.")
def upload() -> tuple[UploadAnswer, int]:
    """Store a data file and show its head. It is removed after a day unless a job refers to it."""
    file = request.files.get("file")
    if file is None or not file.filename:
        raise refuse("file", None, "is missing", "Send multipart/form-data with a field 'file'.")
    path = save_upload(cast(BinaryIO, file.stream), file.filename, settings())
    head = preview(path, settings())
    return UploadAnswer(name=path.name, **_head(str(path), head)), 201


@blueprint.post("/preview")
@operation(TAG, FileAnswer)
def preview_file(json: FileBody) -> FileAnswer:
    """Show the columns and first rows of a data file in an allowed folder."""
    if not json.path.strip():
        raise refuse("data.path", json.path, "must be a path", 'Send {"path": "..."}.')
    head = preview(data_file(json.path, settings()), settings())
    return FileAnswer(**_head(json.path, head))


def _head(path: str, head: Preview) -> dict[str, Any]:
    """The fields of an answer with the head of a file."""
    guessed = GuessedColumns(
        text_columns=list(head.guessed.text_columns), label_column=head.guessed.label_column
    )
    return {
        "path": path,
        "columns": list(head.columns),
        "rows": _shown(head.rows),
        "guessed": guessed,
    }


def _shown(rows: list[dict[str, object]]) -> list[dict[str, str]]:
    return [{key: str(value)[:200] for key, value in row.items()} for row in rows]
