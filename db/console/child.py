"""The common part of the processes that run the queries of the SQL console.

`db.console.console` starts one process per query, running `db.console.sqlite_process` or
`db.console.postgresql.query_process` under the operating system's limits. The process reads one
request, a JSON object, from standard input, gives up the rights it does not need, and
answers in JSON lines:

    {"ready": true}                          connected; the time limit starts
    {"columns": [...]}                       once
    {"rows": [[...], ...]}                   any number of times
    {"end": true, "cut_by": limit or null, "count": rows, "types": [...]}   or
    {"error": code, "name": ..., "message": ..., "position": ...}

Bytes are text from here on: lower-case hexadecimal digits, in JSON, in files and on the page. NaN
and the infinities travel as Python's json writes them. Files are not part of the answer: the
process writes them to the file descriptor that the request names.

A process, because a long C function cannot be interrupted inside SQLite, and a PostgreSQL client
cannot refuse a long value before it is in memory. A process can be limited and killed.

Only the standard library is imported here, so that a SQLite query starts within a few hundredths
of a second.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from db.console.formats import FORMATS
from jobs.processes.limits import limit_process

CHUNK_BYTES = 64 << 10
MAX_FILE = 64 << 20
"""Size limit of written files, in bytes: SQLite may touch its WAL index. Downloads
may be longer."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """Ends the query with an error: its code, message, and the name of the object it is about.

    position: of the fault in the query, in characters from 1; 0 where it is not known
    """

    def __init__(self, code: str, message: str = "", name: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.code, self.name = code, name
        self.answer: dict[str, object] = {
            "error": code,
            "message": message,
            "name": name,
            "position": position,
        }


def answer(run: Callable[[dict[str, Any], Output], None]) -> NoReturn:
    """Run the request on standard input and end the process.

    run: given the request and the output to write to; raises Refused
    """
    request = json.load(sys.stdin.buffer)
    try:
        run(request, Output(request))
    except Refused as refused:
        say(refused.answer)
    except MemoryError:
        say({"error": "memory", "message": "", "name": ""})
    # Not sys.exit: closing the last connection to a SQLite file would write the WAL back.
    os._exit(0)


def limit(request: dict[str, Any]) -> None:
    """Limit memory, processor time and file sizes of this process; no core dumps."""
    limit_process(
        {
            resource.RLIMIT_AS: request["memory"],
            resource.RLIMIT_CPU: int(request["seconds"]) + 2,
            resource.RLIMIT_FSIZE: max(MAX_FILE, request["bytes"]),
        }
    )


def say(message: dict[str, object]) -> None:
    """Write one line of the answer."""
    line = json.dumps(message).encode("ascii") + b"\n"
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


class Output:
    """The answer's rows, as messages or in a file, up to the request's limits.

    A result that is looked at (`cell` in the request) shows rows up to the limit in bytes, and
    counts on; any other result that is larger is refused.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.rows_left: int | None = request["rows"]
        self.bytes_left: int = request["bytes"]
        self.cell: int | None = request["cell"]
        self.skip: int = request["skip"]
        self.column: int | None = request["column"]
        self.count = 0
        self.types: list[set[type]] = []
        file: int | None = request["file"]
        self.file = None if file is None else open(file, "wb", closefd=False)  # noqa: SIM115
        self.format = FORMATS[request["format"]]() if request["format"] else None

    def columns(self, names: Sequence[str]) -> None:
        """Write the column names."""
        self.types = [set() for _ in names]
        if self.column is not None and self.column >= len(names):
            raise Refused("sql", f"the result has {len(names)} columns")
        say({"columns": list(names)})
        if self.format is not None:
            self._write_text(self.format.begin(names))

    def rows(self, rows: Iterable[Sequence[object]]) -> bool:
        """Write rows up to the limits; False when there were more, which ends the answer."""
        batch: list[Sequence[object]] = []
        size, full = 0, False
        for row in rows:
            if self.rows_left is not None:
                if self.rows_left == 0:
                    self._write(batch, size)
                    self.end(cut_by="rows")
                    return False
                self.rows_left -= 1
            self.count += 1
            if full or self.count <= self.skip:
                continue
            row = self._shown(row)
            size += sum(map(_size, row))
            if self.file is None and size > self.bytes_left:
                if self.cell is None:
                    raise Refused("bytes")
                full = True
                continue
            batch.append(row)
            if size > CHUNK_BYTES:
                self._write(batch, size)
                batch, size = [], 0
        self._write(batch, size)
        return True

    def end(self, cut_by: str | None = None) -> None:
        """Complete the answer."""
        if self.file is not None and self.format is not None:
            self._write_text(self.format.end())
            self.file.flush()
        say({"end": True, "cut_by": cut_by, "count": self.count, "types": self._type_names()})

    def _shown(self, row: Sequence[object]) -> list[object]:
        """The values of a row as they are written, after a note of their types."""
        for value, types in zip(row, self.types, strict=True):
            types.add(_type(value))
        if self.column is not None:
            row = row[self.column : self.column + 1]
        return [_shown(value, self.cell) for value in row]

    def _type_names(self) -> list[str]:
        return [_name(types - {type(None)}) for types in self.types]

    def _write(self, rows: list[Sequence[object]], size: int) -> None:
        if self.format is not None:
            self._write_text(self.format.rows(rows))
        elif rows:
            self.bytes_left -= size
            say({"rows": rows})

    def _write_text(self, text: str) -> None:
        assert self.file is not None
        data = text.encode("utf-8", "replace")
        self.bytes_left -= len(data)
        if self.bytes_left < 0:
            raise Refused("bytes")
        self.file.write(data)


def _type(value: object) -> type:
    """The type of a value; whole numbers that no column of 64 bits holds are texts."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str
    return type(value)


def _name(types: set[type]) -> str:
    """The type of a column, from those of its values that are not null."""
    if types == {int, float}:
        return "real"
    return _NAMES.get(next(iter(types)), "text") if len(types) == 1 else "text" if types else "null"


_NAMES = {bool: "boolean", int: "integer", float: "real", bytes: "bytes"}


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value) + 3
    return 8 + value.bit_length() // 3 if isinstance(value, int) else 8


def _shown(value: object, most: int | None) -> object:
    """The value, bytes as text; text that is longer than a page shows is cut."""
    if isinstance(value, bytes):
        value = value.hex()
    if most is not None and isinstance(value, str) and len(value) > most:
        return value[: most - 1] + "…"
    return value
