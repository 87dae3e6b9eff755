"""The file picker's view of the allowed folders, and the models in them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from jobs.errors import InputError
from jobs.inputs import folders
from jobs.inputs.data.uploads import save_upload
from jobs.inputs.folders import list_folder, list_models
from jobs.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a model and data, and a second allowed folder."""
    home, extra = tmp_path / "home", tmp_path / "extra"
    model = home / "models" / "one"
    for folder in (model, extra, home / ".hidden", tmp_path / "outside"):
        folder.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_text("")
    (home / "rows.csv").write_text("text\na\n")
    (home / "headwise.sqlite").write_text("")
    (tmp_path / "outside" / "secret.csv").write_text("text\n")
    (home / "way-out").symlink_to(tmp_path / "outside")
    (home / "secret.csv").symlink_to(tmp_path / "outside" / "secret.csv")
    (home / "loop").symlink_to(home)
    return load_settings({}, home=home, allowed_folders=str(extra))


def test_what_a_folder_shows(settings: Settings) -> None:
    found = list_folder(str(settings.home), settings)
    assert [entry.name for entry in found.entries] == ["loop", "models", "rows.csv"]
    assert [entry.path for entry in found.above] == [str(settings.home)]
    inside = list_folder(str(settings.home / "models"), settings)
    assert [(e.name, e.model) for e in inside.entries] == [("one", True)]
    assert [entry.name for entry in inside.above] == [str(settings.home), "models"]


def test_the_start_has_the_allowed_folders_and_the_uploads(settings: Settings) -> None:
    path = save_upload(io.BytesIO(b"text\na\n"), "mine.csv", settings)
    found = list_folder("", settings)
    assert [entry.path for entry in found.entries] == [
        *map(str, settings.readable_folders),
        str(path),
    ]
    assert (found.entries[-1].name, found.entries[-1].size) == ("mine.csv", 7)


@pytest.mark.parametrize("way", ["way-out", "..", "models/../..", "/etc", "gone", "rows.csv"])
def test_no_way_leads_out(settings: Settings, way: str) -> None:
    with pytest.raises(InputError) as refused:
        list_folder(str(settings.home / way), settings)
    assert [problem.field for problem in refused.value.problems] == ["folder"]


def test_a_folder_of_many_files_is_cut(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST_ENTRIES", 3)
    for number in range(5):
        (settings.home / "models" / f"{number}.csv").write_text("text\n")
    found = list_folder(str(settings.home / "models"), settings)
    assert (len(found.entries), found.more) == (3, True)


def test_models_are_found_a_few_levels_deep(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list_models(settings) == [str(settings.home.resolve() / "models" / "one")]
    monkeypatch.setattr(folders, "DEPTH", 1)
    assert list_models(settings) == []
