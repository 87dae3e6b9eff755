"""Expectations of the check of the images, and the files that it hands to a build."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.deploy.test_confinement import locked
from tools.image_check import ABSENT, TARGETS, pip_mounts


@pytest.mark.parametrize("target", TARGETS)
def test_what_an_image_must_not_have_is_not_locked_for_it(target: str) -> None:
    there = locked("common").keys() | locked(target).keys()
    assert not set(ABSENT[target]) & there
    assert "pip" in ABSENT[target]


def test_a_build_gets_this_machines_way_to_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wheels", "index/simple"):
        (tmp_path / name).mkdir(parents=True)
    conf = tmp_path / "own.conf"
    index = "https://user:secret@packages.example/simple"
    conf.write_text(
        f"[global]\nindex-url = {index}\nfind-links = {tmp_path}/wheels {tmp_path}/gone\n"
        f"extra-index-url = file://{tmp_path}/index/simple\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(conf))
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "7")
    (tmp_path / "build").mkdir()
    mounts = list(pip_mounts(tmp_path / "build"))
    written = tmp_path / "build/pip.conf"
    assert mounts[0] == f"{written}:/etc/pip.conf:ro"
    for place in ("wheels", "index"):
        assert f"{tmp_path}/{place}:{tmp_path}/{place}:ro" in mounts
    assert not any("gone" in mount for mount in mounts)
    text = written.read_text()
    assert f"index-url = {index}\n" in text
    assert "default-timeout = 7\n" in text
    assert written.stat().st_mode & 0o77 == 0
