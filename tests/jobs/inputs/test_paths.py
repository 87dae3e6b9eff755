"""Paths stay inside the allowed folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.errors import InputError
from jobs.inputs.data.examples import allowed_path
from jobs.inputs.models.configuration import model_facts
from jobs.settings import Settings
from jobs.specs.base import DataSpec, ModelSpec
from tests.helpers.inputs import data_file, model_folder, read_rows, refused


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
    assert len(read_rows(DataSpec(path="a.jsonl", text_columns=("premise",)), settings).text_a) == 6


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
    assert len(read_rows(spec, more).text_a) == 6


@pytest.mark.parametrize("given", ["~nobody-of-that-name/a.jsonl", "a\0b.jsonl", "x" * 400])
def test_a_path_that_is_none(settings: Settings, given: str) -> None:
    problem = refused(lambda: allowed_path("data.path", given, settings), "not a usable path")
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
