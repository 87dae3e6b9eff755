"""One job's rows of a published view, streamed as CSV, JSONL or Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, text

from db.database import Database
from db.results.csv_text import csv_text
from db.views import VIEWS
from db.views.parts import View

CHUNK = 10_000

EXPORTED = {view.name: view for view in VIEWS if view.columns[0].name == "job_id"}
"""The published views that have rows per job, by name."""

Chunk = list[dict[str, Any]]


def chunks(database: Database, view: View, job_id: int) -> Iterator[Chunk]:
    """The job's rows as dictionaries, up to 10,000 at a time."""
    statement = text(f"SELECT * FROM {view.name} WHERE job_id = :job_id")  # noqa: S608 - a constant
    flags = [column.name for column in view.columns if column.type == "boolean"]
    with database.read() as tx:
        streamed = statement.execution_options(stream_results=True)
        result = tx.execute(streamed, {"job_id": job_id})
        for part in result.mappings().partitions(CHUNK):
            yield [_typed(row, flags) for row in part]


def csv_parts(view: View, rows: Iterator[Chunk]) -> Iterator[str]:
    """The rows as CSV, header first, in pieces."""
    yield csv_text([[column.name for column in view.columns]])
    for chunk in rows:
        yield csv_text(row.values() for row in chunk)


def _write_csv(path: Path, view: View, rows: Iterator[Chunk]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_parts(view, rows))


def _write_jsonl(path: Path, _view: View, rows: Iterator[Chunk]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for chunk in rows:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in chunk)


def _write_parquet(path: Path, view: View, rows: Iterator[Chunk]) -> None:
    import pyarrow as pa  # slow to import, needed for this format only
    import pyarrow.parquet as pq

    # The types are the view's: the first rows may have nothing but null in a column.
    types = [pa.type_for_alias(_ARROW[column.type]) for column in view.columns]
    schema = pa.schema(zip([column.name for column in view.columns], types, strict=True))
    with pq.ParquetWriter(path, schema) as writer:
        for chunk in rows:
            writer.write_table(pa.Table.from_pylist(chunk, schema=schema))


WRITERS: dict[str, Callable[[Path, View, Iterator[Chunk]], None]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
"""Functions that write a file, by its suffix."""

_ARROW = {"integer": "int64", "real": "float64", "text": "string", "boolean": "bool"}


def _typed(row: RowMapping, flags: Sequence[str]) -> dict[str, Any]:
    """Convert SQLite's 0 and 1 to booleans, which PostgreSQL has of its own."""
    truths = {name: bool(row[name]) for name in flags if row[name] is not None}
    return {**row, **truths}
