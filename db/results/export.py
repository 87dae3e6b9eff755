"""One job's rows of a published view, streamed as CSV, JSONL, Parquet or Arrow."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.results.csv_text import csv_text
from db.views import VIEWS
from db.views.parts import View

if TYPE_CHECKING:
    from db.database import Database

CHUNK = 10_000

EXPORTED = {view.name: view for view in VIEWS if view.columns[0].name == "job_id"}
"""The published views that have rows per job, by name."""

Chunk = Sequence[Sequence[Any]]
"""Rows, with values in the order of the view's columns."""


def chunks(database: Database, view: View, job_id: int) -> Iterator[Chunk]:
    """The job's rows, up to 10,000 at a time, as they are when the first ones are read.

    Raises NotFoundError then if the job is no longer there: its views would be empty.
    """
    from sqlalchemy import text  # not for who writes the rows of a server

    from db.reads.jobs import check_exists

    names = ", ".join(column.name for column in view.columns)
    statement = text(f"SELECT {names} FROM {view.name} WHERE job_id = :job_id")  # noqa: S608 - constants
    flags = [n for n, column in enumerate(view.columns) if column.type == "boolean"]
    with database.read() as tx:
        streamed = statement.execution_options(stream_results=True)
        with tx.execute(streamed, {"job_id": job_id}) as found:
            check_exists(tx, job_id)
            for part in found.partitions(CHUNK):
                yield [_typed(row, flags) for row in part] if flags else part


def csv_parts(view: View, rows: Iterator[Chunk]) -> Generator[str, None, None]:
    """The rows as CSV, header first, in pieces; what fails at once fails before the header."""
    header = csv_text([[column.name for column in view.columns]])
    for chunk in rows:
        yield header + csv_text(chunk)
        header = ""
    if header:
        yield header


def arrow_parts(view: View, rows: Iterator[Chunk]) -> Generator[bytes, None, None]:
    """The rows as an Arrow IPC stream, in pieces; a reader sees an end that is cut off."""
    import pyarrow as pa  # slow to import, needed for this format and Parquet only

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, _schema(view)) as writer:
        for chunk in rows:
            writer.write_batch(_batch(view, chunk))
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def _write_csv(path: Path, view: View, rows: Iterator[Chunk]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(csv_parts(view, rows))


def _write_jsonl(path: Path, view: View, rows: Iterator[Chunk]) -> None:
    names = [column.name for column in view.columns]
    with path.open("w", encoding="utf-8") as file:
        for chunk in rows:
            objects = (dict(zip(names, row, strict=True)) for row in chunk)
            file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)


def _write_parquet(path: Path, view: View, rows: Iterator[Chunk]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, _schema(view)) as writer:
        for chunk in rows:
            writer.write_batch(_batch(view, chunk))


def _schema(view: View) -> Any:
    """The types of the view: the first rows may have nothing but null in a column."""
    import pyarrow as pa

    return pa.schema(
        [(column.name, pa.type_for_alias(_ARROW[column.type])) for column in view.columns]
    )


def _batch(view: View, chunk: Chunk) -> Any:
    import pyarrow as pa

    schema = _schema(view)
    columns = zip(zip(*chunk, strict=True), schema.types, strict=True)
    return pa.record_batch([pa.array(values, kind) for values, kind in columns], schema=schema)


WRITERS: dict[str, Callable[[Path, View, Iterator[Chunk]], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
"""Functions that write a file, by its format."""

_ARROW = {"integer": "int64", "real": "float64", "text": "string", "boolean": "bool"}


def _typed(row: Sequence[Any], flags: Sequence[int]) -> list[Any]:
    """Convert SQLite's 0 and 1 to booleans, which PostgreSQL has of its own."""
    values = list(row)
    for n in flags:
        values[n] = None if values[n] is None else bool(values[n])
    return values
