"""The summary of a data file is remembered until the file changes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InputError
from jobs.inputs.data import examples, summary
from jobs.inputs.data.rows import LongText, SelectedRow, Summarizer, Summary
from jobs.inputs.data.summary import summarize
from jobs.inputs.data.uploads import save_upload
from jobs.settings import Settings
from jobs.specs.base import DataSpec


class Reads:
    """The reads of data files that really happened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.real = examples.summarize_file
        monkeypatch.setattr(examples, "summarize_file", self.read)
        monkeypatch.setattr(summary, "_memory", summary._Memory())

    def read(self, request: Any) -> Any:
        self.count += 1
        return self.real(request)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def write(path: Path, *labels: object) -> DataSpec:
    rows = [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSpec(path=str(path), text_columns=("text",), label_column="label")


def test_a_file_is_read_once(settings: Settings, reads: Reads) -> None:
    spec = write(settings.home / "a.jsonl", "yes", "no", "yes", None, 3)
    found = summarize(spec, settings)
    digest = hashlib.sha256()
    for n, label in enumerate(["yes", "no", "yes", None, 3]):
        digest.update(json.dumps([n, f"text {n}", "", label]).encode())
    assert found == Summary(
        examples=5,
        fingerprint=digest.hexdigest(),
        format="JSON lines",
        first_texts=("text 0",),
        labels=("yes", "no", None, 3),
        places=("line 1", "line 2", "line 4", "line 5"),
        counts=(2, 1, 1, 1),
        all_labels=True,
        class_labels=False,
        longest=tuple(LongText(f"line {n + 1}", (f"text {n}",)) for n in range(5)),
        characters=6.0,
    )
    before = reads.count
    for _ in range(5):
        assert summarize(spec, settings) == found
    assert reads.count == before


def test_a_changed_file_is_read_again(settings: Settings, reads: Reads) -> None:
    path = settings.home / "a.jsonl"
    spec = write(path, "yes")
    summarize(spec, settings)
    write(path, "nay")  # as long as before
    assert summarize(spec, settings).labels == ("nay",)
    about = path.stat()
    write(settings.home / "b.jsonl", "foo")
    (settings.home / "b.jsonl").replace(path)
    os.utime(path, ns=(about.st_atime_ns, path.stat().st_mtime_ns))
    assert summarize(spec, settings).labels == ("foo",)
    assert reads.count == 3


def test_another_inode_is_another_file(settings: Settings, reads: Reads) -> None:
    path = settings.home / "a.jsonl"
    spec = write(path, "yes")
    summarize(spec, settings)
    about, other = path.stat(), settings.home / "b.jsonl"
    write(other, "nay")
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    other.replace(path)
    assert summarize(spec, settings).labels == ("nay",)
    assert reads.count == 2


def test_another_selection_or_limit_is_read_by_itself(settings: Settings, reads: Reads) -> None:
    spec = write(settings.home / "a.jsonl", "yes", "no")
    summarize(spec, settings)
    assert summarize(spec.model_copy(update={"limit": 1}), settings).examples == 1
    few = settings.model_copy(update={"max_examples_per_job": 1})
    with pytest.raises(InputError, match="more than the 1 examples"):
        summarize(spec, few)
    assert reads.count == 3


def test_a_refusal_is_remembered_for_a_while(
    settings: Settings, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settings.home / "a.jsonl"
    path.write_text('{"text": ""}\n')
    spec = DataSpec(path=str(path), text_columns=("text",))
    for _ in range(3):
        with pytest.raises(InputError, match="line 1: the text is empty"):
            summarize(spec, settings)
    assert reads.count == 1
    monkeypatch.setattr(summary, "PROBLEM_SECONDS", 0.0)
    with pytest.raises(InputError, match="line 1: the text is empty"):
        summarize(spec, settings)
    assert reads.count == 2


def test_an_upload_is_known_although_its_use_sets_its_time(
    settings: Settings, reads: Reads
) -> None:
    source = settings.home / "a.jsonl"
    write(source, "yes")
    with source.open("rb") as file:
        path = save_upload(file, "a.jsonl", settings)
    spec = DataSpec(path=str(path), text_columns=("text",))
    summarize(spec, settings)
    before = reads.count
    os.utime(path, (1, 1))
    summarize(spec, settings)
    assert reads.count == before
    assert path.stat().st_mtime > 1  # it is in use


def test_few_files_are_remembered(
    settings: Settings, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "MOST_FILES", 2)
    specs = [write(settings.home / f"{n}.jsonl", n) for n in range(3)]
    for spec in specs:
        summarize(spec, settings)
    assert len(summary._memory._known) == 2
    summarize(specs[2], settings)
    assert reads.count == 3
    summarize(specs[0], settings)
    assert reads.count == 4


def test_long_summaries_are_few(
    settings: Settings, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "MOST_CHARACTERS", 1_000)
    for n in range(3):
        summarize(write(settings.home / f"{n}.jsonl", "x" * 600), settings)
    assert len(summary._memory._known) == 1


def looked_at(rows: list[SelectedRow]) -> Summary:
    summarizer = Summarizer()
    assert list(summarizer.watch(rows)) == rows
    return summarizer.summary()


def test_labels_are_remembered_up_to_a_number_and_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [SelectedRow(n, f"line {n}", ("a",), label) for n, label in enumerate("abacd")]
    assert looked_at(rows).all_labels
    monkeypatch.setattr("jobs.inputs.data.rows.MOST_LABELS", 2)
    found = looked_at(rows)
    assert (found.labels, found.counts) == (("a", "b"), (2, 1))
    assert (found.examples, found.all_labels) == (5, False)
    assert looked_at(rows[:3]).all_labels
    monkeypatch.setattr("jobs.inputs.data.rows.MOST_LABELS", 9)
    monkeypatch.setattr("jobs.inputs.data.rows.LABEL_CHARACTERS", 9)
    assert looked_at(rows).labels == ("a", "b", "c")  # with their quotes


def test_rows_of_a_submission_are_not_remembered(settings: Settings, reads: Reads) -> None:
    spec = DataSpec(inline=True, text_columns=("text",))
    for text in ("one", "two"):
        found = summarize(spec, settings, [{"text": text}])
        assert found.first_texts == (text,)
    assert reads.count == 0


def test_the_longest_texts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.inputs.data.rows.LONGEST_CHARACTERS", 100)
    monkeypatch.setattr("jobs.inputs.data.rows.LONGEST_TEXTS", 4)
    sizes = (3, 200, 60, 50, 30, 5, 30)
    rows = [
        SelectedRow(n, f"line {n + 1}", ("x" * (size - 1), "y"), None)
        for n, size in enumerate(sizes)
    ]
    # The one of 200 is more than all together may have; of the four longest, two fit; the first
    # of equals stays.
    assert looked_at(rows).longest == (
        LongText("line 3", ("x" * 59, "y")),
        LongText("line 5", ("x" * 29, "y")),
    )
