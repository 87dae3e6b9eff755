"""The examples of a job, from data files and from datasets on the hub.

Bad input is refused with the number of its line before a job exists.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

from jobs.errors import HubUnavailableError, refuse
from jobs.inputs.formats import Row
from jobs.inputs.hub import dataset_address, hub_is_away
from jobs.inputs.reader import ReadRequest, Selection, read_file
from jobs.inputs.reader_process import cell, checked_text, plain_label
from jobs.settings import Settings
from jobs.specs.base import DataSpec


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The selected examples, before their labels are matched with a model's."""

    text_a: list[str]
    text_b: list[str] | None
    labels: list[object]
    source_rows: list[int]
    places: list[str]
    """Where each row stands, for messages."""
    format: str = ""
    """Format of the file, in words."""
    class_labels: bool = False
    """Numbers in the label column have names in the data (ClassLabel)."""

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

    format: str
    """Format of the file, in words."""
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


def read_rows(
    spec: DataSpec, settings: Settings, inline: Sequence[Mapping[str, object]] | None = None
) -> Rows:
    """The rows that the spec selects.

    inline: the rows of the submission, where the spec says so

    Raises InputError naming the row at fault, HubUnavailableError when the hub does not answer.
    """
    if spec.inline:
        found = _from_submission(spec, settings, inline)
    else:
        found = _from_hub(spec, settings) if spec.dataset else _from_file(spec, settings)
    if not found.numbers:
        field, value = (
            ("data.offset", spec.offset) if spec.offset else ("data", spec.path or spec.dataset)
        )
        raise refuse(
            field, value, "selects no rows", "The data is empty, or the offset is past its end."
        )
    second = len(spec.text_columns) == 2
    rows = Rows(
        text_a=[texts[0] for texts in found.texts],
        text_b=[texts[1] for texts in found.texts] if second else None,
        labels=found.labels,
        source_rows=found.numbers,
        places=found.places,
        format=found.format,
        class_labels=found.class_labels,
    )
    return _sampled(rows, spec)


def preview(path: Path, settings: Settings, name: str = "", rows: int = 5) -> Preview:
    """Column names and the first rows of a data file.

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
    found = read_file(asked)
    if not found.heads:
        raise refuse("data.path", name, "is empty", "Give a file with at least one row.")
    columns = tuple(dict.fromkeys(key for row in found.heads for key in row))
    return Preview(format=found.format, columns=columns, rows=found.heads)


def touch_upload(path: Path, settings: Settings) -> None:
    """Say that an upload is in use, see `jobs.inputs.uploads`; other files stay as they are."""
    if path.is_relative_to(settings.uploads.resolve()):
        with suppress(OSError):
            os.utime(path)


def _from_file(spec: DataSpec, settings: Settings) -> Selection:
    path = allowed_path("data.path", str(spec.path), settings)
    uploaded = path.is_relative_to(settings.uploads.resolve())
    if not path.is_file():
        remedy = "Check the path; it is read on the server."
        if uploaded:
            remedy = "Upload it again: uploads that no job refers to are removed after a day."
        raise refuse("data.path", spec.path, "no such file", remedy)
    touch_upload(path, settings)
    if path.stat().st_size == 0:
        raise refuse("data.path", spec.path, "is empty", "Give a file with at least one row.")
    asked = ReadRequest(
        path=path,
        name=str(spec.path),
        text_columns=spec.text_columns,
        label_column=spec.label_column,
        offset=spec.offset,
        limit=spec.limit,
        sample=spec.sample,
        max_rows=settings.max_examples_per_job,
        max_line_bytes=settings.max_line_bytes,
        max_bytes=settings.data_megabytes << 20,
        seconds=settings.data_seconds,
    )
    return read_file(asked)


def _from_submission(
    spec: DataSpec, settings: Settings, inline: Sequence[Mapping[str, object]] | None
) -> Selection:
    if not inline:
        message = "has no rows: data.inline takes them from the submission, which are not stored"
        raise refuse("rows", None, message, 'Give them beside the spec: [{"text": "..."}, ...].')
    rows = (
        Row(number=number, place=f"row {number + 1}", values=values)
        for number, values in enumerate(inline)
    )
    return _selected(((row, ()) for row in rows), spec, settings)


def _from_hub(spec: DataSpec, settings: Settings) -> Selection:
    stop = None if spec.limit is None else spec.offset + spec.limit
    return _selected(islice(_hub_rows(spec), spec.offset, stop), spec, settings)


def _selected(
    rows: Iterable[tuple[Row, Sequence[str]]], spec: DataSpec, settings: Settings
) -> Selection:
    """Texts and labels of rows that come with the names of their labels."""
    found = Selection()
    for row, names in rows:
        found.class_labels = bool(names)
        longest = settings.max_line_bytes
        found.texts.append([checked_text(row, column, longest) for column in spec.text_columns])
        column = spec.label_column
        label = None if column is None else cell(row, column, "data.label_column")
        found.labels.append(plain_label(label, names, row.place))
        found.numbers.append(row.number)
        found.places.append(row.place)
    return found


def _hub_rows(spec: DataSpec) -> Iterator[tuple[Row, Sequence[str]]]:
    """The rows of a hub's data set, with the names of its labels where they are numbers."""
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


def _sampled(rows: Rows, spec: DataSpec) -> Rows:
    if spec.sample is None or spec.sample >= len(rows):
        return rows
    chosen = sorted(random.Random(spec.seed).sample(range(len(rows)), spec.sample))  # noqa: S311
    return Rows(
        text_a=[rows.text_a[i] for i in chosen],
        text_b=None if rows.text_b is None else [rows.text_b[i] for i in chosen],
        labels=[rows.labels[i] for i in chosen],
        source_rows=[rows.source_rows[i] for i in chosen],
        places=[rows.places[i] for i in chosen],
        format=rows.format,
        class_labels=rows.class_labels,
    )
