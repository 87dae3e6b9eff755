"""Changed data files through the readers of jobs.

Two layers, as in the part `console`: files of text are mostly read in this process, which is fast;
Parquet, whose library is not ours, and one text file in so many are read as submissions read them,
in the limited process. That one may refuse a file, but never die of it.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import InputError
from jobs.inputs.data import reader_process
from jobs.inputs.data.reader import MEMORY, ReadRequest, StoredRows, read_head, summarize_file
from tests.fuzz.memory import peak_mb
from tests.fuzz.report import Report

SECONDS = 5.0
"""Limit of one file."""
HANG_SECONDS = 10.0
"""Beyond the limit; a process may start slowly on a busy machine."""
EVERY = 100
OWN_MB = 400
ROWS = [{"text": f"A cat sleeps {n}, or not.", "label": n % 3, "extra": 0.5} for n in range(40)]
PIECES = (
    *(b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b'""', b"'", b",", b"\t", b";"),
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"[",
        b"]",
        b"{",
        b"}",
        b'{"a":',
        b"[" * 3_000,
        b"\\u0000",
        b"\\ud800",
    ),
    *(
        b"9" * 5_000,
        b"1e999",
        b"NaN",
        b"-Infinity",
        b"null",
        b"true",
        b"a" * 70_000,
        b'"a"' * 9_000,
    ),
    *(b"\x1f\x8b", b"PAR1", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"text,text"),
    *("\u2028\u202e\ufeff".encode(), b",".join(b"c%d" % n for n in range(1_200)), b" "),
)


def _separated(separator: str) -> bytes:
    lines = [separator.join(ROWS[0]), *(separator.join(map(str, r.values())) for r in ROWS)]
    return "\n".join(line.replace(", or", " or") for line in lines).encode()


def _parquet(compression: str) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer, compression=compression)
    return buffer.getvalue()


_LINES = "\n".join(map(json.dumps, ROWS)).encode()
BASES: dict[str, list[bytes]] = {
    ".csv": [_separated(","), _separated(";")],
    ".tsv": [_separated("\t")],
    ".txt": [_separated("\t")],
    ".jsonl": [_LINES],
    ".json": [json.dumps(ROWS).encode(), _LINES],
    ".csv.gz": [gzip.compress(_separated(","), mtime=0)],
    ".json.gz": [gzip.compress(_LINES, mtime=0)],
    ".parquet": [_parquet("none"), _parquet("snappy"), _parquet("gzip")],
}


class Files:
    """Files with some changes, by the suffix of their names."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self) -> tuple[str, bytes]:
        """A suffix and the content."""
        suffix = self._random.choice(sorted(BASES))
        content = self._random.choice(BASES[suffix])
        packed = suffix.endswith(".gz") and self._random.random() < 0.7
        if packed:
            content = gzip.decompress(content)
        for _ in range(self._random.choice((0, 1, 1, 2, 4))):
            change: Callable[[bytes], bytes] = self._random.choice(
                (self._insert, self._insert, self._flip, self._remove, self._repeat, self._cut)
            )
            content = change(content)
        if packed:
            content = gzip.compress(content, mtime=0)
        return suffix, content

    def _place(self, content: bytes) -> int:
        # Footers of Parquet and headers of tables are at the ends.
        ends = (0, len(content), max(0, len(content) - self._random.randrange(400)))
        return self._random.choice((*ends, self._random.randrange(len(content) + 1)))

    def _insert(self, content: bytes) -> bytes:
        at = self._place(content)
        return content[:at] + self._random.choice(PIECES) + content[at:]

    def _flip(self, content: bytes) -> bytes:
        at = min(self._place(content), max(0, len(content) - 1))
        return content[:at] + bytes([self._random.randrange(256)]) + content[at + 1 :]

    def _remove(self, content: bytes) -> bytes:
        at = self._place(content)
        return content[:at] + content[at + self._random.randrange(1, 60) :]

    def _repeat(self, content: bytes) -> bytes:
        at = self._place(content)
        return content[:at] + content[at : at + 200] * self._random.choice((2, 9, 300))

    def _cut(self, content: bytes) -> bytes:
        return content[: self._place(content)]


def requests(path: Path, number: int) -> ReadRequest:
    """A submission's reading, or every third time a preview's."""
    columns: tuple[str, ...] = () if number % 3 == 0 else ("text",)
    return ReadRequest(
        path=path,
        name=path.name,
        text_columns=columns,
        label_column="label" if columns else None,
        limit=5 if number % 3 == 0 else None,
        max_rows=10_000,
        seconds=SECONDS,
    )


def here(request: ReadRequest) -> None:
    """Read a file in this process, as the limited process would."""
    asked = {**request.__dict__, "path": str(request.path), "into": None}
    json.dumps(reader_process._answer(asked)).encode("ascii")


def there(request: ReadRequest) -> None:
    """Read a file in the limited process, and its rows from where it has stored them."""
    if not request.text_columns:
        read_head(request)
        return
    with tempfile.TemporaryFile() as file:
        found = summarize_file(request, file)
        if found.examples != sum(1 for _ in StoredRows(file)):
            raise AssertionError("not the rows of the summary")


def fuzz(report: Report, folder: Path, files: Files, until: float) -> None:
    """Read files until the time has come or there were enough."""
    while report.goes_on(until):
        suffix, content = files.next()
        path = folder / f"data{suffix}"
        path.write_bytes(content)
        report.inputs += 1
        limited = suffix == ".parquet" or report.inputs % EVERY == 1
        shown = f"{suffix}, input {report.inputs}: {content[:200]!r}"
        began = time.monotonic()
        try:
            (there if limited else here)(requests(path, report.inputs))
            report.outcomes["read"] += 1
        except InputError as error:
            report.outcomes["refused"] += 1
            if any("Traceback" in str(problem) for problem in error.problems):
                report.broken.append(f"a traceback in the message: {shown}")
        except Exception as error:  # noqa: BLE001 - the finding itself
            report.broken.append(f"{type(error).__name__}: {str(error)[:200]}: {shown}")
        if (taken := time.monotonic() - began) > SECONDS + HANG_SECONDS:
            report.broken.append(f"hang of {taken:.0f} s: {shown}")
        report.outcomes["in the limited process" if limited else "in this process"] += 1
    report.peak("reader", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
    report.peak("own", peak_mb())
    if report.peaks["reader"] > MEMORY >> 20 or report.peaks["own"] > OWN_MB:
        report.broken.append(f"memory: {report.peaks}")


def run(seed: int, seconds: float, most: float = math.inf) -> Report:
    """Fuzz all formats for some seconds, with so many files at most."""
    report = Report(part="data", most=most)
    with tempfile.TemporaryDirectory(prefix="headwise-fuzz-") as folder:
        fuzz(report, Path(folder), Files(seed), time.monotonic() + seconds)
    return report
