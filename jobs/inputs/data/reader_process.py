"""The process that reads one data file, under the operating system's limits.

`jobs.inputs.data.reader` starts it: a file that unpacks to gigabytes, or takes minutes, costs this
process and no other. It reads one request, a JSON object, from standard input and answers with one
in a line:

    {"summary": {...}}                                      what `.rows` has learnt, or
    {"format": ..., "heads": [{column: value, ...}, ...]}   the first rows, or
    {"problems": [{"field": ..., "value": ..., "message": ..., "remedy": ...}]}, or
    {"memory": true}                                        there was not enough

The request may name an open file, which then gets the rows, one in a line:

    [number, place, [text, ...], label]
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

from jobs.errors import InputError, nearest, refuse, shorten
from jobs.inputs.data.formats import Row, Table, open_table
from jobs.inputs.data.rows import HashedRow, SelectedRow, Summarizer, drawn
from jobs.processes.limits import limit_process

PREVIEW_CHARACTERS = 300
STORED_BYTES = 16
"""A file with rows has at most so many bytes per character that texts may have. A row has a hundred
besides its texts."""


def main() -> None:
    """Answer the request on standard input and end the process."""
    request = json.load(sys.stdin.buffer)
    storing = request["into"] is not None
    limit_process(
        {
            resource.RLIMIT_AS: request["memory"],
            resource.RLIMIT_CPU: int(request["seconds"]) + 1,
            resource.RLIMIT_FSIZE: STORED_BYTES * request["max_bytes"] if storing else 0,
        }
    )
    answer: Mapping[str, object]
    try:
        answer = _answer(request)
    except InputError as error:
        answer = {"problems": [_shown(problem.__dict__) for problem in error.problems]}
    except MemoryError:
        answer = {"memory": True}
    sys.stdout.buffer.write(json.dumps(answer).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()
    os._exit(0)  # nothing to save; freeing a gigabyte would take a while


def _answer(request: Mapping[str, Any]) -> Mapping[str, object]:
    return _summary(request) if request["text_columns"] else _head(request)


def _head(request: Mapping[str, Any]) -> Mapping[str, object]:
    with _opened(request) as table:
        heads = [_shown(row.values) for row in islice(table.rows, request["limit"])]
        return {"format": table.format, "heads": heads}


def _summary(request: Mapping[str, Any]) -> Mapping[str, object]:
    chosen: Iterable[int] | None = None
    if request["sample"] is not None:
        # Rows are too many to keep: they are counted first, and those that were drawn read again.
        with _opened(request) as table:
            count = sum(1 for _ in _selected(_asked_for(table, request), table, request))
        chosen = drawn(count, request["sample"], request["seed"])
    with _opened(request) as table:
        rows = _asked_for(table, request)
        if chosen is not None:
            rows = _at(rows, chosen)
        summarizer = Summarizer()
        looked_at = summarizer.watch(_bounded(_selected(rows, table, request), request))
        if request["into"] is None:
            for _ in looked_at:
                continue
        else:
            _store(looked_at, request)
        class_labels = request["label_column"] in table.names
        return {"summary": summarizer.summary(table.format, class_labels=class_labels).__dict__}


def _opened(request: Mapping[str, Any]) -> AbstractContextManager[Table]:
    texts, label = request["text_columns"], request["label_column"]
    columns = [*texts, label] if texts and label else texts
    return open_table(Path(request["path"]), request["max_line_bytes"], columns, request["name"])


def _asked_for(table: Table, request: Mapping[str, Any]) -> Iterator[Row]:
    stop = None if request["limit"] is None else request["offset"] + request["limit"]
    return islice(table.rows, request["offset"], stop)


def _at(rows: Iterator[Row], places: Iterable[int]) -> Iterator[Row]:
    """The rows at these positions, which rise."""
    before = 0
    for place in places:
        yield from islice(rows, place - before, place - before + 1)
        before = place + 1


def _bounded(rows: Iterator[SelectedRow], request: Mapping[str, Any]) -> Iterator[SelectedRow]:
    size = 0
    for row in rows:
        size += sum(map(len, row.texts))
        if size > request["max_bytes"]:
            raise _too_much(request)
        yield row


def _store(rows: Iterator[SelectedRow], request: Mapping[str, Any]) -> None:
    try:
        with open(request["into"], "wb", closefd=False) as file:
            for row in rows:
                line = json.dumps(HashedRow.of(row), ensure_ascii=False)
                file.write(line.encode(errors="surrogatepass") + b"\n")
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise _too_much(request) from None
        raise


def _too_much(request: Mapping[str, Any]) -> InputError:
    message = f"has more than {request['max_bytes'] >> 20:,} MB of text"
    remedy = "Take fewer rows, or raise HEADWISE_DATA_MEGABYTES."
    return refuse("data.path", request["name"], message, remedy)


def _selected(
    rows: Iterator[Row], table: Table, request: Mapping[str, Any]
) -> Iterator[SelectedRow]:
    """The rows with their texts and labels, checked."""
    label_column, most = request["label_column"], request["max_rows"]
    names = table.names.get(label_column, ())
    for count, row in enumerate(rows):
        if most and count >= most and request["sample"] is None:
            raise refuse(
                "data.limit",
                None,
                f"the file has more than the {most:,} examples that a job may have",
                "Take fewer rows, or raise HEADWISE_MAX_EXAMPLES_PER_JOB.",
            )
        yield selected_row(
            row, request["text_columns"], label_column, names, request["max_line_bytes"]
        )


def selected_row(
    row: Row,
    text_columns: Sequence[str],
    label_column: str | None,
    names: Sequence[str],
    longest: int,
) -> SelectedRow:
    """A row's texts and its label.

    names: those of labels that are numbers
    longest: characters that a text may have

    Raises InputError naming what is wrong with it.
    """
    texts = tuple(checked_text(row, column, longest) for column in text_columns)
    label = None if label_column is None else cell(row, label_column, "data.label_column")
    return SelectedRow(row.number, row.place, texts, plain_label(label, names, row.place))


def cell(row: Row, column: str, field: str) -> object:
    """A row's value in a column. Raises InputError for a column that the row lacks."""
    if column not in row.values:
        known = nearest(column, map(str, row.values))
        raise refuse(field, column, f"{row.place} has no such column", known)
    return row.values[column]


def checked_text(row: Row, column: str, longest: int) -> str:
    """A row's text. Raises InputError for anything that is no text that a database can store."""
    value = cell(row, column, "data.text_columns")
    if not isinstance(value, str):
        kind = "is nested, not text" if isinstance(value, dict | list) else "is not text"
        message = f"{row.place}: column {column!r} {kind}"
        remedy = "Name a column of texts, or fill or remove the row."
        raise refuse("data.text_columns", shorten(value), message, remedy)
    if not value.strip():
        message = f"{row.place}: the text is empty"
        raise refuse("data.text_columns", column, message, "Fill or remove the row.")
    if len(value) > longest:
        message = f"{row.place}: the text has more than {longest:,} characters"
        raise refuse("data.text_columns", column, message, "Shorten it.")
    if not storable(value):
        message = f"{row.place}: the text has a NUL character or half of a surrogate pair"
        remedy = "Remove it: databases store Unicode text only."
        raise refuse("data.text_columns", column, message, remedy)
    return value


def storable(text: str) -> bool:
    """Say if databases store this text."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def plain_label(label: object, names: Sequence[str], place: str) -> object:
    """A label as JSON has it; the number of a ClassLabel becomes its name.

    Raises InputError for a nested value and for text that is not a label for its length.
    """
    if isinstance(label, dict | list):
        message = f"{place} has a nested value as its label"
        remedy = "Name a column of names or numbers."
        raise refuse("data.label_column", shorten(label), message, remedy)
    if names and isinstance(label, int) and 0 <= label < len(names):
        return names[label]
    if label is None or isinstance(label, bool | int | float):
        return label
    text = str(label)
    if len(text) > 1_000:
        message = f"{place} has a label of {len(text):,} characters"
        raise refuse("data.label_column", shorten(text), message, "Name the column of the labels.")
    return text


def _shown(values: Mapping[str, object]) -> dict[str, object]:
    """Values for a message or a preview: what JSON has, cut to a readable length."""
    return {name: _brief(value) for name, value in values.items()}


def _brief(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


if __name__ == "__main__":
    main()
