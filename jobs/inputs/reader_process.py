"""The process that reads one data file, under the operating system's limits.

`jobs.inputs.reader` starts it: a file that unpacks to gigabytes, or takes minutes, costs this
process and no other. It reads one request, a JSON object, from standard input and answers in JSON
lines:

    {"format": ..., "names": {...}}                         what was found
    {"rows": [[number, place, [text, ...], label], ...]}    any number of times, or
    {"heads": [{column: value, ...}, ...]}                  for a preview
    {"end": true}                                           or
    {"problems": [{"field": ..., "value": ..., "message": ..., "remedy": ...}]}
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from jobs.errors import InputError, nearest, refuse, shorten
from jobs.inputs.formats import Row, Table, open_table
from jobs.process_limits import limit_process

BATCH_ROWS, BATCH_CHARACTERS = 200, 1 << 20
PREVIEW_CHARACTERS = 300


def main() -> None:
    """Answer the request on standard input and end the process."""
    request = json.load(sys.stdin.buffer)
    limit_process(
        {
            resource.RLIMIT_AS: request["memory"],
            resource.RLIMIT_CPU: int(request["seconds"]) + 1,
            resource.RLIMIT_FSIZE: 0,
        }
    )
    try:
        for message in _answer(request):
            say(message)
        say({"end": True})
    except InputError as error:
        say({"problems": [_shown(problem.__dict__) for problem in error.problems]})
    except MemoryError:
        say({"memory": True})
    sys.stdout.buffer.flush()
    os._exit(0)  # nothing to save; freeing a gigabyte would take a while


def _answer(request: Mapping[str, Any]) -> Iterator[Mapping[str, object]]:
    texts, label = request["text_columns"], request["label_column"]
    columns = [*texts, label] if texts and label else texts
    with open_table(
        Path(request["path"]), request["max_line_bytes"], columns, request["name"]
    ) as table:
        yield {"format": table.format, "names": table.names}
        if not texts:
            yield {"heads": [_shown(row.values) for row in islice(table.rows, request["limit"])]}
            return
        stop = None if request["limit"] is None else request["offset"] + request["limit"]
        rows = _selected(islice(table.rows, request["offset"], stop), table, request)
        yield from ({"rows": batch} for batch in _batches(rows))


def _batches(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    """Rows that travel together: neither many nor large."""
    batch: list[list[Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(map(len, row[2]))
        if len(batch) == BATCH_ROWS or size > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _selected(rows: Iterator[Row], table: Table, request: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The selected rows, as they are sent: number, place, texts and label."""
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
        texts = [
            checked_text(row, column, request["max_line_bytes"])
            for column in request["text_columns"]
        ]
        label = None if label_column is None else cell(row, label_column, "data.label_column")
        yield [row.number, row.place, texts, plain_label(label, names, row.place)]


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

    Raises InputError for a nested value and for text that is no label for its length.
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


def say(message: Mapping[str, object]) -> None:
    """Write one line of the answer."""
    sys.stdout.buffer.write(json.dumps(message).encode("ascii") + b"\n")


if __name__ == "__main__":
    main()
