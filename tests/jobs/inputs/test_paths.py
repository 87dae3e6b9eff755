"""Paths stay inside the allowed folders, and uploads are stored whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InputError
from jobs.inputs import data as data_module
from jobs.inputs.data import allowed_path, read_rows, save_upload
from jobs.inputs.models import model_facts
from jobs.settings import Settings
from jobs.specs.base import DataSpec, ModelSpec
from tests.helpers.inputs import data_file, model_folder, refused

ROW = b'{"text": "a"}\n'


def outside(path: Path | str, settings: Settings) -> None:
    """Both a data file and a model there are refused, before anything is read."""
    data = DataSpec(path=str(path), text_columns=("premise",))
    problem = refused(
        lambda: read_rows(data, settings),
        "is outside the allowed folders",
        str(settings.home),
        "HEADWISE_ALLOWED_FOLDERS",
    )
    assert (problem.field, problem.value) == ("data.path", str(path))


def test_a_file_in_the_data_folder_may_be_named_relative_to_it(settings: Settings) -> None:
    data_file(settings.home / "a.jsonl")
    assert allowed_path("data.path", "a.jsonl", settings) == settings.home / "a.jsonl"
    assert len(read_rows(DataSpec(path="a.jsonl", text_columns=("premise",)), settings)) == 6


def test_a_file_outside(settings: Settings, tmp_path: Path) -> None:
    outside(data_file(tmp_path / "a.jsonl"), settings)
    outside("/etc/passwd", settings)


def test_a_file_outside_by_dots(settings: Settings, tmp_path: Path) -> None:
    data_file(tmp_path / "a.jsonl")
    outside("../a.jsonl", settings)
    outside(settings.home / "x" / ".." / ".." / "a.jsonl", settings)


def test_a_folder_whose_name_only_starts_like_an_allowed_one(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "home2").mkdir()
    outside(data_file(tmp_path / "home2" / "a.jsonl"), settings)


@pytest.mark.parametrize("link_the_folder", [False, True])
def test_a_file_outside_by_a_link(
    settings: Settings, tmp_path: Path, link_the_folder: bool
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    data_file(secret / "a.jsonl")
    if link_the_folder:
        (settings.home / "inside").symlink_to(secret)
        outside(settings.home / "inside" / "a.jsonl", settings)
    else:
        (settings.home / "inside.jsonl").symlink_to(secret / "a.jsonl")
        outside(settings.home / "inside.jsonl", settings)


def test_a_model_outside_by_a_link(settings: Settings, tmp_path: Path) -> None:
    (settings.home / "model").symlink_to(model_folder(tmp_path / "secret"))
    problem = refused(
        lambda: model_facts(ModelSpec(name=str(settings.home / "model")), settings),
        "is outside the allowed folders",
    )
    assert problem.field == "model.name"


def test_an_allowed_folder_may_itself_be_a_link(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    data_file(tmp_path / "real" / "a.jsonl")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    more = settings.model_copy(update={"allowed_folders": str(tmp_path / "link")})
    spec = DataSpec(path=str(tmp_path / "link" / "a.jsonl"), text_columns=("premise",))
    assert len(read_rows(spec, more)) == 6


@pytest.mark.parametrize("given", ["~nobody-of-that-name/a.jsonl", "a\0b.jsonl", "x" * 400])
def test_a_path_that_is_none(settings: Settings, given: str) -> None:
    problem = refused(lambda: allowed_path("data.path", given, settings), "no usable path")
    assert (problem.field, problem.remedy) == ("data.path", "Check the path.")


def test_a_loop_of_links(settings: Settings) -> None:
    (settings.home / "a.jsonl").symlink_to(settings.home / "b.jsonl")
    (settings.home / "b.jsonl").symlink_to(settings.home / "a.jsonl")
    with pytest.raises(InputError, match=r"data\.path"):
        read_rows(DataSpec(path="a.jsonl", text_columns=("premise",)), settings)


def test_a_file_that_may_not_be_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    data_file(settings.home / "a.jsonl")
    # Permissions do not bind root, who may run the tests.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    spec = DataSpec(path="a.jsonl", text_columns=("premise",))
    refused(lambda: read_rows(spec, settings), "data.path: cannot be read", "permission")


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_is_not_there(settings: Settings, name: str) -> None:
    spec = DataSpec(path=name, text_columns=("premise",))
    refused(lambda: read_rows(spec, settings), "data.path: no such file", name, "on the server")


# Uploads.


def stored(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.uploads.iterdir())


def test_an_upload_is_stored_once_under_the_hash_of_its_content(settings: Settings) -> None:
    first = save_upload(io.BytesIO(ROW), "a.jsonl", settings)
    second = save_upload(io.BytesIO(ROW), "Other.JSONL", settings)
    assert first == second
    assert first.name == hashlib.sha256(ROW).hexdigest()[:32] + ".jsonl"
    assert first.read_bytes() == ROW
    assert stored(settings) == [first.name]
    spec = DataSpec(path=str(first), text_columns=("text",))
    assert read_rows(spec, settings).text_a == ["a"]


def test_the_name_of_an_upload_is_no_path(settings: Settings) -> None:
    path = save_upload(io.BytesIO(ROW), "../../../etc/x.jsonl", settings)
    assert path.parent == settings.uploads


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
    final = settings.uploads / (hashlib.sha256(ROW).hexdigest()[:32] + ".jsonl")
    seen: list[bool] = []
    read = data_module.preview

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append(final.exists())
        return read(*args, **kwargs)

    monkeypatch.setattr(data_module, "preview", watched)
    assert save_upload(io.BytesIO(ROW), "a.jsonl", settings) == final
    assert seen == [False]
