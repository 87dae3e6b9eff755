"""The process that makes a Parquet file of rows on disk.

A process, because converting takes seconds of processor time, and memory, that the dashboard needs.
It reads one request, a JSON object, from standard input:

    {"source": descriptor of a file of `formats.Rows`, "target": descriptor of the file to write,
     "columns": names, "types": names of types, "bytes": largest file, "seconds": limit}
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any

from db.console.formats import unique
from jobs.errors import UnavailableError
from jobs.processes.limited_process import ask, end, start
from jobs.processes.limits import limit_process

SECONDS = 120
"""Time for a file; 100 MB take ten seconds on an idle machine."""
MEMORY = 1 << 30
"""Bytes of data."""
_GROUP = 20_000
"""Rows that are in memory together."""
_ARROW = {"integer": "int64", "real": "float64", "boolean": "bool", "null": "null"}


def convert(
    source: IO[bytes],
    target: IO[bytes],
    columns: Sequence[str],
    types: Sequence[str],
    max_bytes: int,
) -> None:
    """Write the rows of a file as Parquet to another. Raises UnavailableError."""
    source.seek(0)
    child = start(__name__, files=(source.fileno(), target.fileno()))
    timer = threading.Timer(SECONDS, child.kill)
    timer.start()
    try:
        ask(
            child,
            {
                "source": source.fileno(),
                "target": target.fileno(),
                "columns": list(columns),
                "types": list(types),
                "bytes": max_bytes,
                "seconds": SECONDS,
            },
        )
        if child.wait() != 0:
            message = "The Parquet file could not be written; CSV has the same rows."
            raise UnavailableError(message, what="Download")
    finally:
        timer.cancel()
        end(child)


def main() -> None:
    """Convert the file of the request on standard input."""
    request = json.load(sys.stdin.buffer)
    limit_process(
        {
            resource.RLIMIT_CPU: request["seconds"],
            resource.RLIMIT_DATA: MEMORY,
            resource.RLIMIT_FSIZE: request["bytes"],
        }
    )
    with (
        open(request["source"], "rb", closefd=False) as source,
        open(request["target"], "wb", closefd=False) as target,
    ):
        write(source, target, request["columns"], request["types"])
    # Not sys.exit: the threads of pyarrow take their time to end.
    os._exit(0)


def write(
    source: IO[bytes], target: IO[bytes], columns: Sequence[str], types: Sequence[str]
) -> None:
    """Write the rows of `source` to `target`, a few thousand at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.type_for_alias(_ARROW.get(one, "string")) for one in types]
    schema = pa.schema(list(zip(unique(columns), kinds, strict=True)))
    with pq.ParquetWriter(target, schema) as writer:
        for rows in _groups(source):
            values = zip(zip(*rows, strict=True), types, kinds, strict=True)
            arrays = [
                pa.array(map(_CAST.get(name, _text), one), kind) for one, name, kind in values
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _groups(source: IO[bytes]) -> Iterator[list[list[Any]]]:
    while group := list(map(json.loads, islice(source, _GROUP))):
        yield group


def _same(value: object) -> object:
    return value


def _real(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


_CAST = {"integer": _same, "real": _real, "boolean": _same, "null": _same}
