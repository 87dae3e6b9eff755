"""Uploads are stored whole or not at all, keep their names, and go when nothing refers to them."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.inputs.data import uploads as uploads_module
from jobs.inputs.data.uploads import original_name, remove_unused, save_upload
from jobs.settings import Settings
from jobs.specs.base import DataSpec
from tests.helpers.inputs import read_rows, refused

ROW = b'{"text": "a"}\n'
DIGEST = hashlib.sha256(ROW).hexdigest()[:32]


def stored(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.uploads.iterdir())


def test_an_upload_is_stored_once_under_the_hash_of_its_content(settings: Settings) -> None:
    first = save_upload(io.BytesIO(ROW), "a.jsonl", settings)
    assert save_upload(io.BytesIO(ROW), "a.jsonl", settings) == first
    assert first == settings.uploads / DIGEST / "a.jsonl"
    assert first.read_bytes() == ROW
    assert stored(settings) == [DIGEST]
    assert [path.name for path in first.parent.iterdir()] == ["a.jsonl"]
    spec = DataSpec(path=str(first), text_columns=("text",))
    assert read_rows(spec, settings).text_a == ["a"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../../etc/x.jsonl", "x.jsonl"),
        ("C:\\Users\\ada\\My data.JSONL", "My data.jsonl"),
        ("Übung – 文.jsonl", "Übung – 文.jsonl"),
        ("..\0..\n-a\tb .jsonl", "a b.jsonl"),
        ("..hidden.jsonl", "hidden.jsonl"),
        ("\u202e.jsonl", "data.jsonl"),
        ("文" * 200 + ".jsonl", "文" * 50 + ".jsonl"),
        ("<b>\"'.jsonl", "<b>\"'.jsonl"),
    ],
)
def test_an_upload_keeps_its_name_safely(settings: Settings, given: str, kept: str) -> None:
    path = save_upload(io.BytesIO(ROW), given, settings)
    assert path == settings.uploads / DIGEST / kept
    assert original_name(str(path)) == kept
    spec = DataSpec(path=str(path), text_columns=("text",))
    assert read_rows(spec, settings).text_a == ["a"]


def test_other_files_have_no_original_name(settings: Settings) -> None:
    for path in ("/data/a.jsonl", "a.jsonl", "", f"{settings.uploads}/{DIGEST}.jsonl"):
        assert original_name(path) is None


def test_an_upload_that_is_too_large(settings: Settings) -> None:
    small = settings.model_copy(update={"upload_megabytes": 1})
    content = io.BytesIO(ROW * (1 + (1 << 20) // len(ROW)))
    refused(
        lambda: save_upload(content, "a.jsonl", small),
        "file: is larger than 1 MB",
        "given: 'a.jsonl'",
        "HEADWISE_UPLOAD_MEGABYTES",
    )
    assert stored(settings) == []


def test_an_upload_of_exactly_the_limit(settings: Settings) -> None:
    small = settings.model_copy(update={"upload_megabytes": 1})
    content = ROW + b"\n" * ((1 << 20) - len(ROW))
    assert save_upload(io.BytesIO(content), "a.jsonl", small).stat().st_size == 1 << 20


@pytest.mark.parametrize("name", ["model.pkl", "a.doc", "jsonl", ".jsonl", ""])
def test_an_upload_of_an_unknown_format(settings: Settings, name: str) -> None:
    refused(lambda: save_upload(io.BytesIO(ROW), name, settings), "file: has an unknown format")
    assert not settings.uploads.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b""),
        ("a.jsonl", b"no json"),
        ("a.jsonl", b"\xff\xfe\x00"),
        ("a.csv", b"text\n"),
        ("a.parquet", b"PAR1"),
    ],
)
def test_an_upload_with_bad_content_is_named_as_the_user_named_it(
    settings: Settings, name: str, content: bytes
) -> None:
    problem = refused(lambda: save_upload(io.BytesIO(content), name, settings))
    assert (problem.field, problem.value) == ("file", name)
    assert stored(settings) == []


class Broken(io.BytesIO):
    """A connection that ends in the middle."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 0:
            raise ConnectionResetError
        return super().read(5)


def test_a_half_written_upload_is_never_visible(settings: Settings) -> None:
    with pytest.raises(ConnectionResetError):
        save_upload(Broken(ROW), "a.jsonl", settings)
    assert stored(settings) == []


def test_the_final_name_appears_only_with_the_whole_content(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = settings.uploads / DIGEST / "a.jsonl"
    seen: list[bool] = []
    read = uploads_module.preview

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append(final.exists())
        return read(*args, **kwargs)

    monkeypatch.setattr(uploads_module, "preview", watched)
    assert save_upload(io.BytesIO(ROW), "a.jsonl", settings) == final
    assert seen == [False]


# Removal.


def age(path: Path, days: float) -> Path:
    """Let a file have been used so many days ago."""
    used = time.time() - 86_400 * days
    os.utime(path, (used, used))
    return path


def nothing() -> set[str]:
    return set()


def test_an_upload_that_is_not_in_use_goes_after_a_day(settings: Settings) -> None:
    path = save_upload(io.BytesIO(ROW), "a.jsonl", settings)
    assert remove_unused(settings, nothing) == []
    age(path, 0.9)
    assert remove_unused(settings, nothing) == []
    age(path, 1.1)
    assert remove_unused(settings, lambda: {DIGEST}) == []
    assert path.exists()
    assert remove_unused(settings, nothing) == [DIGEST]
    assert stored(settings) == []


def test_what_uploading_did_not_make_stays(settings: Settings) -> None:
    settings.uploads.mkdir()
    names = ["notes.txt", "a.jsonl", DIGEST[:31] + ".jsonl", DIGEST.upper() + ".csv"]
    for name in names:
        age_of = settings.uploads / name
        age_of.write_bytes(ROW)
        age(age_of, 9)
    earlier = settings.uploads / f"{DIGEST}.jsonl"
    broken_off = settings.uploads / "partial-x1"
    for path in (earlier, broken_off):
        path.write_bytes(ROW)
        age(path, 2)
    assert sorted(remove_unused(settings, nothing)) == ["", DIGEST]
    assert stored(settings) == sorted(names)


def test_no_folder_and_no_old_upload_ask_nobody(settings: Settings) -> None:
    def asked() -> set[str]:
        raise AssertionError

    assert remove_unused(settings, asked) == []
    save_upload(io.BytesIO(ROW), "a.jsonl", settings)
    assert remove_unused(settings, asked) == []


def test_checking_a_submission_counts_as_use(settings: Settings) -> None:
    path = age(save_upload(io.BytesIO(ROW), "a.jsonl", settings), 2)
    read_rows(DataSpec(path=str(path), text_columns=("text",)), settings)
    assert remove_unused(settings, nothing) == []
    assert path.exists()


def test_a_submission_during_the_search_keeps_its_upload(settings: Settings) -> None:
    path = age(save_upload(io.BytesIO(ROW), "a.jsonl", settings), 2)

    def read_meanwhile() -> set[str]:
        read_rows(DataSpec(path=str(path), text_columns=("text",)), settings)
        return set()  # the job is written after the search for references

    assert remove_unused(settings, read_meanwhile) == []
    assert path.read_bytes() == ROW
    age(path, 2)

    def upload_meanwhile() -> set[str]:
        save_upload(io.BytesIO(ROW), "a.jsonl", settings)
        return set()

    assert remove_unused(settings, upload_meanwhile) == []
    assert path.read_bytes() == ROW
    assert stored(settings) == [DIGEST]


def test_a_removed_upload_says_why(settings: Settings) -> None:
    path = age(save_upload(io.BytesIO(ROW), "a.jsonl", settings), 2)
    remove_unused(settings, nothing)
    spec = DataSpec(path=str(path), text_columns=("text",))
    refused(lambda: read_rows(spec, settings), "no such file", "Upload it again")
