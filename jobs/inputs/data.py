"""Reading the examples of a job: JSONL, CSV and Parquet files, and datasets on the hub.

Bad input is refused with the number of its line before a job exists.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from jobs.errors import HubUnavailableError, InputError, nearest, refuse
from jobs.inputs.hub import hub_is_away
from jobs.settings import Settings
from jobs.specs.base import DataSpec

Record = Mapping[str, object]
Numbered = tuple[int, str, Record]
"""Row number from 0, where it is in words (`line 3`), and the row."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The selected examples, before their labels are matched with a model's."""

    text_a: list[str]
    text_b: list[str] | None
    labels: list[object]
    source_rows: list[int]

    def __len__(self) -> int:
        return len(self.text_a)

    def fingerprint(self) -> str:
        """SHA-256 over texts, labels and row numbers: what the results depend on."""
        digest = hashlib.sha256()
        second = self.text_b or [""] * len(self)
        for row in zip(self.source_rows, self.text_a, second, self.labels, strict=True):
            digest.update(json.dumps(row, default=str).encode())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The head of a data file."""

    columns: tuple[str, ...]
    rows: list[dict[str, object]]


def allowed_path(field: str, given: str, settings: Settings) -> Path:
    """`given` as a real path inside one of the readable folders; links are followed first."""
    try:
        path = Path(given).expanduser()
        path = (path if path.is_absolute() else settings.home / path).resolve()
    except (RuntimeError, ValueError) as error:  # an unknown ~user, a loop of links, a NUL
        raise refuse(field, given, f"is no usable path: {error}", "Check the path.") from None
    if not any(path.is_relative_to(folder) for folder in settings.readable_folders):
        folders = ", ".join(str(folder) for folder in settings.readable_folders)
        raise refuse(
            field,
            given,
            f"is outside the allowed folders ({folders})",
            "Move it there, or add its folder to HEADWISE_ALLOWED_FOLDERS and restart.",
        )
    try:
        unreadable = path.exists() and not os.access(path, os.R_OK)
    except OSError as error:  # a name that is too long, a folder that may not be searched
        raise refuse(field, given, f"is no usable path: {error}", "Check the path.") from None
    if unreadable:
        raise refuse(field, given, "cannot be read", "Give the server's user the permission.")
    return path


def read_rows(spec: DataSpec, settings: Settings) -> Rows:
    """The rows that the spec selects.

    Raises InputError naming the row at fault, HubUnavailableError when the hub does not answer.
    """
    records = _hub_records(spec) if spec.dataset else _file_records(spec, settings)
    stop = None if spec.limit is None else spec.offset + spec.limit
    rows = Rows(
        text_a=[], text_b=[] if len(spec.text_columns) == 2 else None, labels=[], source_rows=[]
    )
    for number, where, record in islice(records, spec.offset, stop):
        texts = [_text(record, column, where, settings) for column in spec.text_columns]
        rows.text_a.append(texts[0])
        if rows.text_b is not None:
            rows.text_b.append(texts[1])
        label = _cell(record, spec.label_column, "data.label_column", where)
        rows.labels.append(label)
        rows.source_rows.append(number)
    if not rows:
        field, value = (
            ("data.offset", spec.offset) if spec.offset else ("data", spec.path or spec.dataset)
        )
        raise refuse(
            field, value, "selects no rows", "The data is empty, or the offset is past its end."
        )
    return _sampled(rows, spec)


def label_index(raw: object, labels: tuple[str, ...], where: str) -> int | None:
    """A gold label as an index into the model's labels; None where the row has no label."""
    if isinstance(raw, float):
        # A column of integers with gaps becomes floats with NaN in pandas.
        raw = None if math.isnan(raw) else int(raw) if raw.is_integer() else raw
    text = "" if raw is None else str(raw).strip()
    if text in ("", "-1"):
        return None
    if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < len(labels):
        return raw
    if text in labels:
        return labels.index(text)
    folded = [label.casefold() for label in labels]
    if text.casefold() in folded:
        return folded.index(text.casefold())
    if text.isdecimal() and len(text) < 6 and int(text) < len(labels):
        return int(text)
    shown = ", ".join(f"{i} {name}" for i, name in enumerate(labels))
    raise refuse(
        "data.label_column",
        raw,
        f"{where} has a label the model does not know",
        f"The model's labels: {shown}. Rename the labels, or leave data.label_column empty.",
    )


def preview(path: Path, rows: int = 5) -> Preview:
    """Column names and the first rows of a JSONL, CSV or Parquet file."""
    head = [dict(record) for _, _, record in islice(_reader(path)(path, 1 << 20), rows)]
    if not head:
        raise refuse("data.path", path.name, "is empty", "Give a file with at least one row.")
    return Preview(columns=tuple(dict.fromkeys(key for row in head for key in row)), rows=head)


def save_upload(stream: BinaryIO, filename: str, settings: Settings) -> Path:
    """Store an upload under the hash of its content and return its path.

    The same content is stored once; a half-written file never has the final name.
    """
    suffix = Path(filename).suffix.lower()
    _reader(Path("upload" + suffix), "file", filename)
    settings.uploads.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    handle, temporary = tempfile.mkstemp(dir=settings.uploads, suffix=suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            while block := stream.read(1 << 20):
                size += len(block)
                if size > settings.upload_megabytes << 20:
                    raise refuse(
                        "file",
                        filename,
                        f"is larger than {settings.upload_megabytes} MB",
                        "Put it into an allowed folder, or raise HEADWISE_UPLOAD_MEGABYTES.",
                    )
                digest.update(block)
                file.write(block)
        try:
            preview(Path(temporary), rows=1)
        except InputError as error:
            # The user knows the file by the name it had.
            problems = [replace(p, field="file", value=filename) for p in error.problems]
            raise InputError(problems) from None
        target = settings.uploads / f"{digest.hexdigest()[:32]}{suffix}"
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target


def _file_records(spec: DataSpec, settings: Settings) -> Iterator[Numbered]:
    path = allowed_path("data.path", str(spec.path), settings)
    if not path.is_file():
        raise refuse(
            "data.path", spec.path, "no such file", "Check the path; it is read on the server."
        )
    if path.stat().st_size == 0:
        raise refuse("data.path", spec.path, "is empty", "Give a file with at least one row.")
    return _reader(path, shown=str(spec.path))(path, settings.max_line_bytes)


def _reader(
    path: Path, field: str = "data.path", shown: str | None = None
) -> Callable[[Path, int], Iterator[Numbered]]:
    readers = {
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
        ".csv": _csv,
        ".tsv": _csv,
        ".parquet": _parquet,
    }
    if path.suffix.lower() not in readers:
        raise refuse(
            field, shown or path.name, "is of an unknown format", f"Known: {', '.join(readers)}."
        )
    return readers[path.suffix.lower()]


def _lines(path: Path, longest: int) -> Iterator[tuple[int, str]]:
    """Decoded lines with their number from 1; line ends are kept for the CSV parser."""
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(longest + 1):
            number += 1
            if len(raw) > longest:
                raise refuse(
                    "data.path",
                    path.name,
                    f"line {number} is longer than {longest:,} bytes",
                    "Split or shorten the text, or raise HEADWISE_MAX_LINE_BYTES.",
                )
            if b"\0" in raw:
                raise refuse(
                    "data.path",
                    path.name,
                    f"line {number} is binary, not text",
                    "Give a text file.",
                )
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise refuse(
                    "data.path",
                    path.name,
                    f"line {number} is not valid UTF-8 at byte {error.start}",
                    "Save the file as UTF-8.",
                ) from None


def _jsonl(path: Path, longest: int) -> Iterator[Numbered]:
    row = 0
    for number, line in _lines(path, longest):
        if not line.strip():
            continue
        try:
            record = json.loads(line.rstrip())
        except (ValueError, RecursionError) as error:
            reason = str(error)
            if isinstance(error, json.JSONDecodeError):
                # Its own words would name line 1: the decoder sees one line.
                reason = f"{error.msg} at column {error.colno}"
            raise refuse(
                "data.path",
                path.name,
                f"line {number} is not JSON: {reason}",
                "One object per line.",
            ) from None
        if not isinstance(record, dict):
            raise refuse(
                "data.path",
                path.name,
                f"line {number} is not a JSON object",
                "One object per line.",
            )
        yield row, f"line {number}", record
        row += 1


def _csv(path: Path, longest: int) -> Iterator[Numbered]:
    csv.field_size_limit(longest)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    number = 0

    def lines() -> Iterator[str]:
        # The reader's own line_num does not count a line that it refuses.
        nonlocal number
        for number, line in _lines(path, longest):  # noqa: B007
            yield line

    reader = csv.DictReader(lines(), delimiter=delimiter, strict=True)
    try:
        for row, record in enumerate(reader):
            where = f"line {number}"
            if None in record or None in record.values():
                columns = len(reader.fieldnames or ())
                raise refuse(
                    "data.path",
                    path.name,
                    f"{where} does not have the {columns} columns of the header",
                    "Quote texts that contain the separator.",
                )
            yield row, where, record
    except csv.Error as error:
        raise refuse(
            "data.path",
            path.name,
            f"line {number} is not CSV: {error}",
            "Check its quotes.",
        ) from None


def _parquet(path: Path, _longest: int) -> Iterator[Numbered]:
    import pyarrow as pa  # slow to import, needed for this format only
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            row = 0
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    yield row, f"row {row}", record
                    row += 1
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        # ValueError: strings that are no UTF-8; OverflowError: dates that Python does not know.
        reason = "is not Parquet: " + " ".join(str(error).split())
        raise refuse("data.path", path.name, reason, "Write it with pyarrow or pandas.") from None


def _hub_records(spec: DataSpec) -> Iterator[Numbered]:
    import datasets  # slow to import, needed for hub data only
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError  # of its HTTP client, whichever that is

    try:
        table = datasets.load_dataset(
            spec.dataset, spec.config, split=spec.split, revision=spec.revision
        )
    except (OSError, ValueError, RuntimeError, HTTPError, DatasetsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if hub_is_away(error):
            raise HubUnavailableError(f"The hub does not answer: {reason}") from error
        raise refuse(
            "data.dataset",
            spec.dataset,
            f"cannot be loaded: {reason}",
            "Check name, config, split and revision, and that the hub can be reached.",
        ) from error
    feature = table.features.get(spec.label_column) if spec.label_column else None
    names = getattr(feature, "names", None)
    for row, record in enumerate(cast(Iterable[Record], table)):
        if names and isinstance(number := record[str(spec.label_column)], int) and number >= 0:
            record = {**record, str(spec.label_column): names[number]}
        yield row, f"row {row}", record


def _cell(record: Record, column: str | None, field: str, where: str) -> object:
    if column is None:
        return None
    if column not in record:
        raise refuse(
            field, column, f"{where} has no such column", nearest(column, map(str, record))
        )
    return record[column]


def _text(record: Record, column: str, where: str, settings: Settings) -> str:
    value = _cell(record, column, "data.text_columns", where)
    if not isinstance(value, str):
        raise refuse(
            "data.text_columns",
            value,
            f"{where}: column {column!r} is not text",
            "Name a column of texts, or fill or remove the row.",
        )
    if not value.strip():
        raise refuse(
            "data.text_columns", column, f"{where}: the text is empty", "Fill or remove the row."
        )
    if len(value) > settings.max_line_bytes:
        raise refuse("data.text_columns", column, f"{where}: the text is too long", "Shorten it.")
    if not _storable(value):
        raise refuse(
            "data.text_columns",
            column,
            f"{where}: the text has a NUL character or half of a surrogate pair",
            "Remove it: databases store Unicode text only.",
        )
    return value


def _storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _sampled(rows: Rows, spec: DataSpec) -> Rows:
    if spec.sample is None or spec.sample >= len(rows):
        return rows
    chosen = sorted(random.Random(spec.seed).sample(range(len(rows)), spec.sample))  # noqa: S311
    return Rows(
        text_a=[rows.text_a[i] for i in chosen],
        text_b=None if rows.text_b is None else [rows.text_b[i] for i in chosen],
        labels=[rows.labels[i] for i in chosen],
        source_rows=[rows.source_rows[i] for i in chosen],
    )
