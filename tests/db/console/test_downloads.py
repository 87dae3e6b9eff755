"""CSV results on disk: readers get whole files, and slow ones do not pile them up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import db.console.downloads
from db.console.downloads import Downloads
from jobs.errors import UnavailableError


def test_a_download_gives_its_file_and_leaves_none(tmp_path: Path) -> None:
    downloads = Downloads(space=1_000_000, per_client=1)
    with downloads.open("ada", 1_000_000, tmp_path) as download:
        download.file.write(b"x" * 200_000)
        download.finish()
        assert b"".join(download.pieces()) == b"x" * 200_000
        assert list(tmp_path.iterdir()) == []  # it has no name
    assert download.file.closed


def test_space_is_reserved_and_given_back(tmp_path: Path) -> None:
    downloads = Downloads(space=1000, per_client=5)
    with downloads.open("ada", 600, tmp_path) as first:
        with pytest.raises(UnavailableError, match="Too many downloads"):
            downloads.open("bob", 600, tmp_path).__enter__()
        first.file.write(b"x" * 100)
        first.finish()  # it is smaller than it could have been
        with downloads.open("bob", 600, tmp_path):
            pass
    with downloads.open("bob", 1000, tmp_path):
        pass


def test_a_client_has_few(tmp_path: Path) -> None:
    downloads = Downloads(space=1000, per_client=1)
    with downloads.open("ada", 1, tmp_path):
        with pytest.raises(UnavailableError, match="1 downloads of yours"):
            downloads.open("ada", 1, tmp_path).__enter__()
        with downloads.open("bob", 1, tmp_path):
            pass


def test_a_slow_reader_loses_its_file_when_the_space_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.console.downloads, "GRACE_SECONDS", -10.0)
    downloads = Downloads(space=500_000, per_client=1)
    with downloads.open("eve", 500_000, tmp_path) as slow:
        slow.file.write(b"x" * 400_000)
        slow.finish()
        pieces = slow.pieces()
        assert next(pieces)
        with downloads.open("eve", 500_000, tmp_path):
            assert os.fstat(slow.file.fileno()).st_size == 0
            with pytest.raises(UnavailableError, match="too slow"):
                next(pieces)


def test_a_reader_in_time_keeps_its_file(tmp_path: Path) -> None:
    downloads = Downloads(space=500_000, per_client=2)
    with downloads.open("ada", 500_000, tmp_path) as download:
        download.file.write(b"x" * 400_000)
        download.finish()
        with pytest.raises(UnavailableError, match="Too many"):
            downloads.open("eve", 500_000, tmp_path).__enter__()
        assert len(b"".join(download.pieces())) == 400_000
