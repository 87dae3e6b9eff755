"""The examples of a job, from data files and from datasets on the hub.

Bad input is refused with the number of its line before a job exists.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from jobs.errors import HubUnavailableError, refuse
from jobs.inputs.data.columns import Columns, guess_columns
from jobs.inputs.data.formats import Row
from jobs.inputs.data.reader import ReadRequest, StoredRows, read_head, summarize_file
from jobs.inputs.data.reader_process import selected_row
from jobs.inputs.data.rows import HashedRow, SelectedRow, Summarizer, Summary, drawn
from jobs.inputs.hub import dataset_address, hub_is_away
from jobs.settings import Settings

if TYPE_CHECKING:
    from jobs.specs.base import DataSpec  # building its models takes longer than a list of jobs


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The selected examples, before their labels are matched with a model's."""

    summary: Summary
    rows: Iterable[HashedRow]
    """They may be read several times."""


LOOKED_AT, SHOWN = 50, 5
"""Rows that a preview looks at, and rows that it shows."""
_UPLOAD = re.compile(r"/uploads/([0-9a-f]{32}/[^/]+)$")
"""An upload in whichever data folder: a restored installation may have another one."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The head of a data file."""

    format: str
    """Format of the file, in words."""
    columns: tuple[str, ...]
    rows: list[dict[str, object]]
    """The first few."""
    guessed: Columns


def allowed_path(field: str, given: str, settings: Settings) -> Path:
    """`given` as a real path inside one of the readable folders; links are followed first."""
    try:
        path = Path(given).expanduser()
        if (upload := _UPLOAD.search(given)) and (settings.uploads / upload[1]).exists():
            path = settings.uploads / upload[1]
        path = (path if path.is_absolute() else settings.home / path).resolve()
    except (RuntimeError, ValueError) as error:  # an unknown ~user, a loop of links, a NUL
        raise refuse(field, given, f"is not a usable path: {error}", "Check the path.") from None
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
        raise refuse(field, given, f"is not a usable path: {error}", "Check the path.") from None
    if unreadable:
        raise refuse(field, given, "cannot be read", "Give the server's user the permission.")
    return path


@contextmanager
def open_rows(
    spec: DataSpec, settings: Settings, inline: Sequence[Mapping[str, object]] | None = None
) -> Iterator[Rows]:
    """The rows that the spec selects; those of a file are in a temporary file meanwhile.

    inline: the rows of the submission, where the spec says so

    Raises InputError naming the row at fault, HubUnavailableError when the hub does not answer.
    """
    if spec.path is None:
        yield _rows_elsewhere(spec, settings, inline)
        return
    with tempfile.TemporaryFile(dir=settings.scratch) as file:
        summary = _not_empty(spec, summarize_file(_request(spec, settings), file))
        yield Rows(summary=summary, rows=StoredRows(file))


def summarize_rows(
    spec: DataSpec, settings: Settings, inline: Sequence[Mapping[str, object]] | None = None
) -> Summary:
    """Look at the rows that the spec selects; those of a file stay where they are read.

    Raises the errors of `open_rows`.
    """
    if spec.path is None:
        return _rows_elsewhere(spec, settings, inline).summary
    return _not_empty(spec, summarize_file(_request(spec, settings)))


def preview(path: Path, settings: Settings, name: str = "", rows: int = LOOKED_AT) -> Preview:
    """Column names and the first rows of a data file, and a guess at what the columns are.

    name: the file's name for messages and its suffix, where ``path`` has another one
    """
    name = name or path.name
    asked = ReadRequest(
        path=path,
        name=name,
        limit=rows,
        max_line_bytes=settings.max_line_bytes,
        seconds=settings.data_seconds,
    )
    found = read_head(asked)
    if not found.rows:
        raise refuse("data.path", name, "is empty", "Give a file with at least one row.")
    columns = tuple(dict.fromkeys(key for row in found.rows for key in row))
    guessed = guess_columns(columns, found.rows)
    return Preview(format=found.format, columns=columns, rows=found.rows[:SHOWN], guessed=guessed)


def touch_upload(path: Path, settings: Settings) -> None:
    """Say that an upload is in use (`jobs.inputs.data.uploads`); other files stay as they are."""
    if path.is_relative_to(settings.uploads.resolve()):
        with suppress(OSError):
            os.utime(path)


def data_file(given: str, settings: Settings) -> Path:
    """`given` as the path of a data file that may be read. Raises InputError."""
    path = allowed_path("data.path", given, settings)
    if not path.is_file():
        remedy = "Check the path; it is read on the server."
        if path.is_relative_to(settings.uploads.resolve()):
            remedy = "Upload it again: uploads that no job refers to are removed after a day."
        raise refuse("data.path", given, "no such file", remedy)
    if path.stat().st_size == 0:
        raise refuse("data.path", given, "is empty", "Give a file with at least one row.")
    return path


def _request(spec: DataSpec, settings: Settings) -> ReadRequest:
    path = data_file(str(spec.path), settings)
    touch_upload(path, settings)
    return ReadRequest(
        path=path,
        name=str(spec.path),
        text_columns=spec.text_columns,
        label_column=spec.label_column,
        offset=spec.offset,
        limit=spec.limit,
        sample=spec.sample,
        seed=spec.seed,
        max_rows=settings.max_examples_per_job,
        max_line_bytes=settings.max_line_bytes,
        max_bytes=settings.data_megabytes << 20,
        seconds=settings.data_seconds,
    )


def _not_empty(spec: DataSpec, found: Summary) -> Summary:
    if not found.examples:
        field, value = (
            ("data.offset", spec.offset) if spec.offset else ("data", spec.path or spec.dataset)
        )
        raise refuse(
            field, value, "selects no rows", "The data is empty, or the offset is past its end."
        )
    return found


def _rows_elsewhere(
    spec: DataSpec, settings: Settings, inline: Sequence[Mapping[str, object]] | None
) -> Rows:
    """The rows of a submission or a dataset."""
    summarizer, class_labels = Summarizer(), False
    if spec.inline:
        rows = list(_from_submission(spec, settings, inline))
    else:
        found, class_labels = _from_hub(spec, settings)
        rows = [found[place] for place in drawn(len(found), spec.sample, spec.seed)]
    hashed = [HashedRow.of(row) for row in summarizer.watch(rows)]
    summary = summarizer.summary(class_labels=class_labels)
    return Rows(summary=_not_empty(spec, summary), rows=hashed)


def _from_submission(
    spec: DataSpec, settings: Settings, inline: Sequence[Mapping[str, object]] | None
) -> Iterator[SelectedRow]:
    if not inline:
        message = "has no rows: data.inline takes them from the submission, which are not stored"
        raise refuse("rows", None, message, 'Give them beside the spec: [{"text": "..."}, ...].')
    for number, values in enumerate(inline):
        row = Row(number=number, place=f"row {number + 1}", values=values)
        yield _selected(row, (), spec, settings)


def _from_hub(spec: DataSpec, settings: Settings) -> tuple[list[SelectedRow], bool]:
    """All rows that a sample is drawn from; True if its numbers have names (ClassLabel)."""
    stop = None if spec.limit is None else spec.offset + spec.limit
    rows, class_labels = [], False
    for row, names in islice(_hub_rows(spec), spec.offset, stop):
        rows.append(_selected(row, names, spec, settings))
        class_labels = bool(names)
    return rows, class_labels


def _selected(row: Row, names: Sequence[str], spec: DataSpec, settings: Settings) -> SelectedRow:
    return selected_row(row, spec.text_columns, spec.label_column, names, settings.max_line_bytes)


def _hub_rows(spec: DataSpec) -> Iterator[tuple[Row, Sequence[str]]]:
    """The rows of a hub dataset, with the names of its labels where they are numbers."""
    import datasets  # slow to import, needed for hub data only
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError  # of its HTTP client, whichever that is

    try:
        table = datasets.load_dataset(
            dataset_address(str(spec.dataset)),
            spec.config,
            split=spec.split,
            revision=spec.revision,
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
    names = getattr(feature, "names", None) or ()
    for number, record in enumerate(cast(Iterable[Mapping[str, object]], table)):
        yield Row(number=number, place=f"row {number + 1}", values=record), names
