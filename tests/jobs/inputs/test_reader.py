"""Files that would cost gigabytes or minutes are refused, at no cost to the process that asks."""

from __future__ import annotations

import gzip
import resource
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import InputError, UnavailableError
from jobs.inputs import limited_process
from jobs.inputs.reader import ReadRequest, read_file


def request(path: Path, **changes: Any) -> ReadRequest:
    """Ask for the texts of a file."""
    return ReadRequest(**{"path": path, "name": path.name, "text_columns": ("text",), **changes})


def refusal(path: Path, **changes: Any) -> str:
    """The message that refuses a file; this process must not have grown for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as refused:
        read_file(request(path, **changes))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    (problem,) = refused.value.problems
    assert problem.field == "data.path"
    assert problem.remedy
    return str(refused.value)


def test_parquet_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 400), pa.array(["x" * 10_000_000]))
    pq.write_table(pa.table({"text": column}), path)
    assert path.stat().st_size < 1 << 20
    assert "takes more than 1,024 MB of memory to read" in refusal(path)


def test_gzip_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    block = gzip.compress(b"x" * 999 + b"\n" + (b"y" * 999 + b"\n") * 9_999)
    path.write_bytes(gzip.compress(b"text\n") + block * 60)
    assert path.stat().st_size < 2 << 20
    assert "has more than 8 MB of text" in refusal(path, max_bytes=8 << 20)


def test_a_json_array_that_does_not_fit_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(b"[") + gzip.compress(b" " * (1 << 20)) * 900)
    assert "takes more than" in refusal(path, max_line_bytes=1 << 30)


def test_a_file_that_takes_too_long(tmp_path: Path) -> None:
    path = tmp_path / "slow.csv"
    path.write_text("text\n" + "a text\n" * 3_000_000)
    began = time.monotonic()
    assert "takes more than 1 s to read" in refusal(path, seconds=1.0)
    assert time.monotonic() - began < 10


def test_the_number_of_rows_is_bounded_while_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("text\n" + "a text\n" * 1_000)
    with pytest.raises(InputError, match="more than the 100 examples that a job may have"):
        read_file(request(path, max_rows=100))
    assert len(read_file(request(path, max_rows=100, limit=100)).texts) == 100
    # A sample is drawn from all of them.
    assert len(read_file(request(path, max_rows=100, sample=10)).texts) == 1_000


def test_long_texts_travel_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    texts = [f"{n} " + "ä" * 400_000 for n in range(8)]
    path.write_text("text\n" + "\n".join(texts) + "\n")
    assert [row[0] for row in read_file(request(path)).texts] == texts


def test_a_preview_is_short_whatever_the_cells_hold(tmp_path: Path) -> None:
    path = tmp_path / "wide.jsonl"
    path.write_text(('{"text": "' + "x" * 100_000 + '", "n": 1, "deep": {"a": [1]}}\n') * 3)
    found = read_file(request(path, text_columns=(), limit=2))
    assert len(found.heads) == 2
    assert found.heads[0]["n"] == 1
    assert found.heads[0]["deep"] == "{'a': [1]}"
    assert len(str(found.heads[0]["text"])) == 300


def test_a_reader_that_cannot_start_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    monkeypatch.setattr(limited_process, "_PROGRAM", "raise SystemExit(1)")
    with pytest.raises(UnavailableError, match="process that reads data files failed"):
        read_file(request(tmp_path / "a.csv"))
