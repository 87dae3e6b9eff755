"""Files of `--to` are whole, or what they were before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.files import form_of, write
from jobs.errors import InputError, UnavailableError


def breaks() -> Iterator[bytes]:
    yield b"the first rows\n"
    raise UnavailableError("The server went away.", what="server")


@pytest.mark.parametrize("before", [None, b"of yesterday"])
def test_a_stream_that_breaks_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
    to = tmp_path / "rows.csv"
    if before is not None:
        to.write_bytes(before)
    with pytest.raises(UnavailableError, match="went away"):
        write(to, breaks())
    assert (to.read_bytes() if to.exists() else None) == before
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"] * (before is not None)


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "heads.pdf", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_by_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("of yesterday, and longer")
    write(tmp_path / "rows.csv", [b"a,b\n", b"1,2\n"])
    assert (tmp_path / "rows.csv").read_bytes() == b"a,b\n1,2\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_stays_one_and_the_longest_names_are_written(tmp_path: Path) -> None:
    link, longest = tmp_path / "link.csv", tmp_path / f"{'n' * 251}.csv"
    link.symlink_to(longest)
    write(link, [b"1"])
    assert link.is_symlink()
    assert longest.read_bytes() == b"1"


def test_a_pipe_is_written_as_it_is() -> None:
    """It cannot be replaced: /dev/stdout is one, by a link that leads to no path."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file:
        try:
            write(Path(f"/dev/fd/{writer}"), [b"a\n"])
        finally:
            os.close(writer)
        assert file.read() == b"a\n"


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="--to: cannot be written: Is a directory"):
        write(tmp_path / "folder.csv", [b"1"])


@pytest.mark.parametrize(
    ("name", "form"), [("a.csv", "csv"), ("A.CSV", "csv"), ("a.b.json", "json")]
)
def test_the_format_is_that_of_the_name(tmp_path: Path, name: str, form: str) -> None:
    assert form_of(tmp_path / name, ("csv", "json")) == form


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", r"is of an unknown format \(given: '.*a.txt'\). Known: .csv, .json."),
        ("a", "is of an unknown format"),
        ("no/a.csv", "is in a folder that does not exist"),
    ],
)
def test_bad_names_are_refused_before_any_work(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        form_of(tmp_path / name, ("csv", "json"))
