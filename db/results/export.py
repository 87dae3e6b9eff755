"""One job's rows of a published view, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import RowMapping, text

from db.database import Database
from db.views import VIEWS
from db.views.parts import View
from jobs.errors import nearest, refuse

CHUNK = 10_000


def exportable(name: str) -> View:
    """The published view of that name, if it has rows per job. Raises InputError."""
    views = {view.name: view for view in VIEWS if view.columns[0].name == "job_id"}
    if name not in views:
        raise refuse("table", name, "is not a published table", nearest(name, views))
    return views[name]


def chunks(database: Database, view: View, job_id: int) -> Iterator[list[dict[str, Any]]]:
    """The job's rows as dictionaries, up to 10,000 at a time."""
    statement = text(f"SELECT * FROM {view.name} WHERE job_id = :job_id")  # noqa: S608 - a constant
    flags = [column.name for column in view.columns if column.type == "boolean"]
    with database.read() as connection:
        result = connection.execution_options(stream_results=True).execute(
            statement, {"job_id": job_id}
        )
        for part in result.mappings().partitions(CHUNK):
            yield [_typed(row, flags) for row in part]


def _typed(row: RowMapping, flags: Sequence[str]) -> dict[str, Any]:
    """SQLite has no booleans of its own: 0 and 1 become what PostgreSQL gives."""
    truths = {name: bool(row[name]) for name in flags if row[name] is not None}
    return {**row, **truths}
