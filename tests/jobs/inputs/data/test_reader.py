"""Files that would cost gigabytes or minutes are refused, at no cost to the process that asks."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import InputError, UnavailableError
from jobs.inputs.data.reader import ReadRequest, StoredRows, read_head, summarize_file
from jobs.inputs.data.rows import HashedRow, SelectedRow
from jobs.processes import limited_process


def request(path: Path, **changes: Any) -> ReadRequest:
    """Ask for the texts of a file."""
    return ReadRequest(**{"path": path, "name": path.name, "text_columns": ("text",), **changes})


def refusal(path: Path, **changes: Any) -> str:
    """The message that refuses a file; this process must not have grown for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as refused:
        summarize_file(request(path, **changes))
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
        summarize_file(request(path, max_rows=100))
    assert summarize_file(request(path, max_rows=100, limit=100)).examples == 100
    # A sample is drawn from all of them.
    assert summarize_file(request(path, max_rows=100, sample=10)).examples == 10


def test_rows_are_stored_as_they_are_and_may_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    texts = [f"{n} \u2028\x85\r\n" + "ä∑😀" * 30_000 for n in range(4)]
    labels: list[object] = ["a\nb", 3, 1.5, None]
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = request(path, label_column="label")
    with tempfile.TemporaryFile() as file:
        found = summarize_file(asked, file)
        stored = StoredRows(file)
        for _ in range(2):
            assert list(stored) == [
                HashedRow.of(SelectedRow(n, f"line {n + 1}", (text,), label))
                for n, (text, label) in enumerate(zip(texts, labels, strict=True))
            ]
    assert found == summarize_file(asked)
    assert found.labels == tuple(labels)


def test_a_sample_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("text\n" + "".join(f"text {n}\n" for n in range(1_000)))
    with tempfile.TemporaryFile() as file:
        # All texts together are more than is allowed; those that are drawn are not.
        found = summarize_file(request(path, sample=5, seed=3, max_bytes=50), file)
        numbers = [row.number for row in StoredRows(file)]
    assert numbers == sorted(random.Random(3).sample(range(1_000), 5))
    assert found.first_texts == (f"text {numbers[0]}",)
    with pytest.raises(InputError, match="more than 0 MB of text"):
        summarize_file(request(path, sample=50, max_bytes=50))


def test_short_texts_do_not_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text("text\n" + "a\n" * 10_000)
    with tempfile.TemporaryFile() as file:
        with pytest.raises(InputError, match="more than 0 MB of text"):
            summarize_file(request(path, max_bytes=20_000), file)
        assert os.fstat(file.fileno()).st_size <= 16 * 20_000


def test_rows_stay_in_the_process_that_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_bytes(b"text,label\n" + (b"x" * 9_000 + b",1\n") * 8_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        assert summarize_file(request(path, label_column="label"), file).examples == 8_000
        assert sum(len(row.texts[0]) for row in StoredRows(file)) == 72_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


def test_a_preview_is_short_whatever_the_cells_hold(tmp_path: Path) -> None:
    path = tmp_path / "wide.jsonl"
    path.write_text(('{"text": "' + "x" * 100_000 + '", "n": 1, "deep": {"a": [1]}}\n') * 3)
    found = read_head(request(path, text_columns=(), limit=2)).rows
    assert len(found) == 2
    assert found[0]["n"] == 1
    assert found[0]["deep"] == "{'a': [1]}"
    assert len(str(found[0]["text"])) == 300


def test_a_reader_that_cannot_start_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    monkeypatch.setattr(limited_process, "_PROGRAM", "raise SystemExit(1)")
    with pytest.raises(UnavailableError, match="process that reads data files failed"):
        summarize_file(request(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("signal_name", "error", "message"),
    [
        ("SIGKILL", UnavailableError, "killed from outside"),
        ("SIGXCPU", InputError, "more than 60 s to read"),
        ("SIGABRT", InputError, "more than 1,024 MB of memory to read"),
        ("SIGSEGV", InputError, "more than 1,024 MB of memory to read"),
    ],
)
def test_the_signal_that_ended_a_reader_says_whether_the_file_is_at_fault(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signal_name: str,
    error: type[Exception],
    message: str,
) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    dies = f"import os, signal; os.kill(os.getpid(), signal.{signal_name})"
    monkeypatch.setattr(limited_process, "_PROGRAM", dies)
    with pytest.raises(error, match=message):
        summarize_file(request(tmp_path / "a.csv"))


def test_processor_time_ends_a_process_by_a_signal_of_its_own() -> None:
    burn = (
        "import resource; from jobs.processes.limits import limit_process; "
        "limit_process({resource.RLIMIT_CPU: 2})\nwhile True: pass"
    )
    assert subprocess.run([sys.executable, "-c", burn]).returncode == -signal.SIGXCPU
