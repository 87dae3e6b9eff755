"""The formats of data files: JSON lines and arrays, CSV, TSV and Parquet, gzipped or not.

Everything a reader refuses it names with the line as an editor counts it (from 1), or with the row
where a file has no lines. What was found (the separator, say) is described, for the form to show.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from jobs.errors import InputError, refuse

Record = Mapping[str, object]

MAX_COLUMNS = 1_000
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet")
"""Known suffixes; ``.gz`` may follow."""
SNIFFED_LINES = 200
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a file."""

    number: int
    """From 0."""
    place: str
    """Its place, for messages: ``line 3``, or ``row 3`` where the file has no lines."""
    values: Record


@dataclass(frozen=True, kw_only=True)
class Table:
    """An open data file."""

    format: str
    """The format in words: ``CSV separated by semicolons``."""
    rows: Iterator[Row]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By column, the names of its integers, where the file holds them (ClassLabel)."""


def known_suffix(name: str) -> str | None:
    """The suffix that says the format, without ``.gz``; None for an unknown one."""
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    return suffix if suffix in SUFFIXES else None


@contextmanager
def open_table(
    path: Path, max_line_bytes: int, columns: Sequence[str] = (), name: str = ""
) -> Iterator[Table]:
    """Open a data file and close it at the end.

    columns: those that are needed, of formats that can leave out others; all if empty
    name: the file's name for messages and its suffix, where ``path`` has another one

    Raises InputError, also while the rows are read.
    """
    name = name or path.name
    suffix = known_suffix(name)
    if suffix is None:
        known = ", ".join(SUFFIXES)
        raise refuse("data.path", name, "has an unknown format", f"Known: {known}, also with .gz.")
    about = _About(name=name, longest=max_line_bytes)
    if suffix == ".parquet":
        yield _parquet(path, about, columns)
        return
    with path.open("rb") as plain:
        compressed = plain.read(2) == _GZIP
    readers: dict[str, Callable[[_Lines, _About], Table]] = {
        ".csv": _csv,
        ".tsv": _tsv,
        ".txt": _text,
    }
    with closing(_Lines(path, compressed, about)) as lines:
        table = readers.get(suffix, _json)(lines, about)
        words = f"{table.format}, gzipped" if compressed else table.format
        yield Table(format=words, rows=table.rows)


@dataclass(frozen=True, kw_only=True)
class _About:
    """The name of a file in messages, and the limit of its lines."""

    name: str
    longest: int

    def refuse(self, message: str, remedy: str) -> InputError:
        return refuse("data.path", self.name, message, remedy)


class _Lines:
    """Decoded lines, with their ends; ``number`` is that of the last one, from 1."""

    def __init__(self, path: Path, compressed: bool, about: _About) -> None:
        self.number = 0
        self.about = about
        file = gzip.open(path) if compressed else path.open("rb", 0)  # noqa: SIM115 - see close
        self._file = io.BufferedReader(file)
        self._end = b"\n"
        self._ahead: list[str] = []
        self._rest = b""
        # Old Macintosh files end lines with a carriage return alone.
        head = self._peek()
        if b"\r" in head and b"\n" not in head:
            self._end = b"\r"

    def _peek(self) -> bytes:
        try:
            return self._guarded(lambda: self._file.peek(1 << 16))
        except InputError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            message = f"cannot be unzipped: {error}"
            raise self.about.refuse(message, "Compress the file again.") from None

    def head(self, count: int) -> list[str]:
        """The first lines, which stay to be read."""
        self.number = len(self._ahead)
        self._ahead += islice(self._decoded(), max(0, count - len(self._ahead)))
        self.number = 0
        return list(self._ahead)

    def __iter__(self) -> Iterator[str]:
        while self._ahead:
            self.number += 1
            yield self._ahead.pop(0)
        yield from self._decoded()

    def _decoded(self) -> Iterator[str]:
        while raw := self._line():
            self.number += 1
            where = f"line {self.number}"
            if len(raw) > self.about.longest:
                message = f"{where} is longer than {self.about.longest:,} bytes"
                remedy = "Split or shorten the text, or raise HEADWISE_MAX_LINE_BYTES."
                raise self.about.refuse(message, remedy)
            # Text in UTF-16 or UTF-32 starts with a mark, or about half of its bytes are zero.
            if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or 3 * raw.count(0) > len(raw):
                message = f"{where} is in UTF-16 or UTF-32, or not text"
                raise self.about.refuse(message, "Save the file as UTF-8.")
            if b"\0" in raw:
                raise self.about.refuse(f"{where} is binary, not text", "Give a text file.")
            try:
                yield raw.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                message = f"{where} is not valid UTF-8 at byte {error.start + 1}"
                raise self.about.refuse(message, "Save the file as UTF-8.") from None

    def _line(self) -> bytes:
        if self._end == b"\n":
            return self._guarded(lambda: self._file.readline(self.about.longest + 1))
        while self._end not in self._rest and len(self._rest) <= self.about.longest:
            block = self._guarded(lambda: self._file.read(1 << 16))
            if not block:
                break
            self._rest += block
        line, end, self._rest = self._rest.partition(self._end)
        return line + end.replace(b"\r", b"\n")


# JSON.


def _json(lines: _Lines, about: _About) -> Table:
    head = lines.head(1)
    if head and head[0].lstrip().startswith("["):
        return Table(format="a JSON array", rows=_json_array(lines, about))
    return Table(format="JSON lines", rows=_json_lines(lines, about))


def _json_lines(lines: _Lines, about: _About) -> Iterator[Row]:
    number = 0
    for line in lines:
        if line.strip():
            place = f"line {lines.number}"
            yield Row(number=number, place=place, values=_object(line.strip(), place, about))
            number += 1


def _json_array(lines: _Lines, about: _About) -> Iterator[Row]:
    text = "".join(lines).rstrip()
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs)
    at, number = text.index("[") + 1, 0
    while True:
        at = _after_blanks(text, at)
        if number == 0 and text[at : at + 1] == "]":
            break
        place = f"row {number + 1}"
        try:
            found, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise about.refuse(*_not_json(place, error)) from None
        yield Row(number=number, place=place, values=_checked(found, place, about))
        number, at = number + 1, _after_blanks(text, at)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            raise about.refuse(f"{place} is not followed by a comma", "Write the array again.")
        at += 1
    if text[at + 1 :].strip():
        raise about.refuse(
            "has more text after its array", "Write one array, or one object per line."
        )


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\n", "\r"):
        at += 1
    return at


class _Pairs(dict[str, object]):
    """A JSON object that remembers a name that stands twice."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.twice = _first_twice([name for name, _ in pairs])


def _object(text: str, place: str, about: _About) -> Record:
    try:
        found = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise about.refuse(*_not_json(place, error)) from None
    return _checked(found, place, about)


def _not_json(place: str, error: Exception) -> tuple[str, str]:
    reason = str(error)
    if isinstance(error, json.JSONDecodeError):
        # Its own words would name line 1: the decoder sees one line.
        reason = f"{error.msg} at column {error.colno}"
    return f"{place} is not JSON: {reason}", "Write one object per line, or one array of objects."


def _checked(found: Any, place: str, about: _About) -> Record:
    if not isinstance(found, _Pairs):
        message = f"{place} is not a JSON object"
        raise about.refuse(message, "Write one object per line, or one array of objects.")
    if found.twice is not None:
        message = f"{place} has the name {found.twice!r} twice"
        raise about.refuse(message, "Give each column a different name.")
    return _named({name.strip(): value for name, value in found.items()}, place, found, about)


def _named(record: Record, place: str, given: Mapping[str, object], about: _About) -> Record:
    if len(record) != len(given):
        twice = _first_twice([name.strip() for name in given])
        message = f"{place} has the name {twice!r} twice, ignoring spaces"
        raise about.refuse(message, "Give each column a different name.")
    if len(record) > MAX_COLUMNS:
        message = f"{place} has {len(record):,} columns; at most {MAX_COLUMNS:,} are read"
        raise about.refuse(message, "Leave out the columns that are not needed.")
    return record


# Separated values.


def _csv(lines: _Lines, about: _About) -> Table:
    head = lines.head(SNIFFED_LINES)
    separator = _sniffed(head)
    words = f"CSV separated by {_SEPARATORS[separator]}"
    return Table(format=words, rows=_quoted(lines, separator, about))


def _tsv(lines: _Lines, about: _About) -> Table:
    """Tab-separated values, where a quote is a character like others.

    Some programs write them as CSV with tabs all the same; where every field that begins with a
    quote is a whole quoted field, and one has a doubled quote or a tab in it, they are read so.
    """
    if _is_quoted(lines.head(SNIFFED_LINES)):
        rows = _quoted(lines, "\t", about)
        return Table(format="tab-separated, with quoted fields", rows=rows)
    return Table(format="tab-separated", rows=_split(lines, about))


def _text(lines: _Lines, about: _About) -> Table:
    head = lines.head(1)
    if head and "\t" not in head[0]:
        message = "is a .txt file without tabs in its first line"
        remedy = "Give a table: columns separated by tabs, with their names in the first line."
        raise about.refuse(message, remedy)
    return _tsv(lines, about)


def _sniffed(head: Sequence[str]) -> str:
    """The separator by which the first lines have most columns, the same number in each."""
    best, most = ",", 1
    for separator in _SEPARATORS:
        # The last line may end within a quoted field.
        counts = _widths(head, separator, strict=True) or _widths(head[:1], separator)
        if len(counts) == 1 and (count := counts.pop()) > most:
            best, most = separator, count
    if most == 1 and head:
        # Rows of different lengths: the header decides, and the rows at fault are named.
        widths = {one: max(_widths(head[:1], one), default=1) for one in _SEPARATORS}
        best = max(widths, key=lambda one: (widths[one], one == ","))
        best = best if widths[best] > 1 else ","
    return best


def _widths(lines: Sequence[str], separator: str, *, strict: bool = False) -> set[int]:
    """Return how many fields the rows of some lines have; nothing for lines that are no CSV."""
    try:
        return {len(row) for row in csv.reader(lines, delimiter=separator, strict=strict) if row}
    except csv.Error:  # reading the lines will say which
        return set()


def _is_quoted(head: Sequence[str]) -> bool:
    fields = [text for line in head for text in line.rstrip("\r\n").split("\t")]
    begins = [text for text in fields if text.startswith('"')]
    whole = [len(text) > 1 and text.endswith('"') for text in begins]
    inner = [text[1:-1] for text in begins]
    paired = all('"' not in text.replace('""', "") for text in inner)
    return bool(begins) and all(whole) and paired and any('""' in text for text in inner)


def _quoted(lines: _Lines, separator: str, about: _About) -> Iterator[Row]:
    csv.field_size_limit(about.longest)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    first = 1
    try:
        names: list[str] | None = None
        number = 0
        for values in reader:
            place, first = f"line {first}", lines.number + 1
            if not values:
                continue
            if names is None:
                names = _header(values, about)
                continue
            yield _row(number, place, names, values, about)
            number += 1
    except csv.Error as error:
        message = f"line {lines.number} is not CSV: {error}"
        raise about.refuse(message, "Check its quotes.") from None


def _split(lines: _Lines, about: _About) -> Iterator[Row]:
    names: list[str] | None = None
    number = 0
    for line in lines:
        place, text = f"line {lines.number}", line.rstrip("\r\n")
        if not text:
            continue
        values = text.split("\t")
        if names is None:
            names = _header(values, about)
            continue
        yield _row(number, place, names, values, about)
        number += 1


def _header(values: Sequence[str], about: _About) -> list[str]:
    names = [value.strip() for value in values]
    if len(names) > MAX_COLUMNS:
        message = f"has {len(names):,} columns; at most {MAX_COLUMNS:,} are read"
        raise about.refuse(message, "Leave out the columns that are not needed.")
    if (twice := _first_twice(names)) is not None:
        message = f"has two columns named {twice!r}"
        raise about.refuse(message, "Give each column a different name.")
    return names


def _row(
    number: int, place: str, names: Sequence[str], values: Sequence[str], about: _About
) -> Row:
    if len(values) != len(names):
        message = f"{place} has {len(values)} values, but the header names {len(names)} columns"
        remedy = (
            "Quote texts that contain the separator or a line break."
            if len(values) > len(names)
            else "Fill in the missing values, and check the separator."
        )
        raise about.refuse(message, remedy)
    return Row(number=number, place=place, values=dict(zip(names, values, strict=True)))


# Parquet.


def _parquet(path: Path, about: _About, columns: Sequence[str]) -> Table:
    import pyarrow as pa  # slow to import, needed for this format only
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _not_parquet(error, about) from None
    names = _header(schema.names, about)
    wanted = [given for given, name in zip(schema.names, names, strict=True) if name in columns]
    rows = _parquet_rows(path, wanted or None, about)
    return Table(format="Parquet", rows=rows, names=_class_labels(schema.metadata))


def _parquet_rows(path: Path, columns: list[str] | None, about: _About) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for record in batch.to_pylist():
                    values = {name.strip(): value for name, value in record.items()}
                    yield Row(number=number, place=f"row {number + 1}", values=values)
                    number += 1
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        # ValueError: strings that are no UTF-8; OverflowError: dates that Python does not know.
        raise _not_parquet(error, about) from None


def _not_parquet(error: Exception, about: _About) -> InputError:
    reason = " ".join(str(error).split())
    return about.refuse(f"is not Parquet: {reason}", "Write it with pyarrow or pandas.")


def _class_labels(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Names that ``datasets.Dataset.to_parquet`` leaves in the schema, by column."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {
            str(column): tuple(map(str, feature["names"]))
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _first_twice(names: Sequence[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)
