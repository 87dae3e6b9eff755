"""Data files of every format, with the right rows written beside each."""
# ruff: noqa: E501

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import InputError
from jobs.inputs.data.formats import known_suffix, open_table

TWO = [{"text": "a b", "label": "0"}, {"text": "c", "label": "1"}]
TWO_JSON = [{"text": "a b", "label": 0}, {"text": "c", "label": 1}]


def zipped(content: bytes) -> bytes:
    """Gzip without the time, so that the names of tests stay."""
    return gzip.compress(content, mtime=0)


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    """A file of this name and content."""
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, longest: int = 1 << 20) -> list[dict[str, object]]:
    """All rows of a file."""
    with open_table(path, longest) as table:
        return [dict(row.values) for row in table.rows]


@pytest.mark.parametrize(
    ("name", "content", "format", "rows"),
    [
        ("a.csv", "text,label\na b,0\nc,1\n", "CSV separated by commas", TWO),
        ("a.csv", "text;label\na b;0\nc;1\n", "CSV separated by semicolons", TWO),
        ("a.csv", "text\tlabel\na b\t0\nc\t1\n", "CSV separated by tabs", TWO),
        ("a.csv", "text|label\r\na b|0\r\nc|1\r\n", "CSV separated by vertical bars", TWO),
        ("a.csv", "text,label\ra b,0\rc,1\r", "CSV separated by commas", TWO),
        ("a.csv", "text,label\ra b,0\rc,1", "CSV separated by commas", TWO),
        ("a.csv", "\ufefftext,label\na b,0\n\nc,1", "CSV separated by commas", TWO),
        ("a.csv", " text , label\na b,0\nc,1\n", "CSV separated by commas", TWO),
        (
            "a.csv",
            'text,label\n"a, ""b""\nc",0\n',
            "CSV separated by commas",
            [{"text": 'a, "b"\nc', "label": "0"}],
        ),
        ("a.csv", "text\na; b\nc\n", "CSV separated by commas", [{"text": "a; b"}, {"text": "c"}]),
        ("a.CSV", "text,label\na b,0\nc,1\n", "CSV separated by commas", TWO),
        ("a.tsv", "text\tlabel\na b\t0\nc\t1\n", "tab-separated", TWO),
        ("a.txt", "text\tlabel\na b\t0\nc\t1\n", "tab-separated", TWO),
        (
            "glue.tsv",
            'text\tlabel\n"Yes," he said\t0\nan " odd one\t1\n"\t1\nlast "\t0\n',
            "tab-separated",
            [
                {"text": '"Yes," he said', "label": "0"},
                {"text": 'an " odd one', "label": "1"},
                {"text": '"', "label": "1"},
                {"text": 'last "', "label": "0"},
            ],
        ),
        (
            "pandas.tsv",
            'text\tlabel\n"He said ""x"""\t0\nplain\t1\n',
            "tab-separated, with quoted fields",
            [{"text": 'He said "x"', "label": "0"}, {"text": "plain", "label": "1"}],
        ),
        ("a.jsonl", '{"text": "a b", "label": 0}\n{"text": "c", "label": 1}', "JSON lines", TWO_JSON),
        ("a.ndjson", '\n{"text": "a b", "label": 0}\r\n\r\n{"text": "c", "label": 1}\n', "JSON lines", TWO_JSON),
        ("a.json", '{"text": "a b", "label": 0}\n{"text": "c", "label": 1}\n', "JSON lines", TWO_JSON),
        ("a.json", json.dumps(TWO_JSON), "a JSON array", TWO_JSON),
        ("a.json", json.dumps(TWO_JSON, indent=2) + "\n", "a JSON array", TWO_JSON),
        ("a.jsonl", json.dumps(TWO_JSON), "a JSON array", TWO_JSON),
        ("a.json", " [ ] ", "a JSON array", []),
        ("a.jsonl", '{" text ": "a"}', "JSON lines", [{"text": "a"}]),
        ("a.csv.gz", zipped(b"text,label\na b,0\nc,1\n"), "CSV separated by commas, gzipped", TWO),
        ("a.jsonl.gz", zipped(json.dumps(TWO_JSON).encode()), "a JSON array, gzipped", TWO_JSON),
        ("not-said.csv", zipped(b"text,label\na b,0\nc,1\n"), "CSV separated by commas, gzipped", TWO),
    ],
)  # fmt: skip
def test_a_file_has_these_rows(
    tmp_path: Path, name: str, content: str | bytes, format: str, rows: list[dict[str, Any]]
) -> None:
    path = write(tmp_path, name, content)
    with open_table(path, 1000) as table:
        assert table.format == format
    assert read(path) == rows


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.doc", "x", "unknown format"),
        ("a", "x", "unknown format"),
        ("a.txt", "just a text\n", r"\.txt file without tabs"),
        ("a.csv", "text,text\na,b\n", "two columns named 'text'"),
        ("a.csv", "text, text\na,b\n", "two columns named 'text'"),
        ("a.tsv", "text\ttext\na\tb\n", "two columns named 'text'"),
        ("a.csv", "text,label\na,0,1\nb,1\n", "line 2 has 3 values, but the header names 2"),
        ("a.csv", 'text,label\n"a\nb",0\nc\n', "line 4 has 1 values, but the header names 2"),
        ("a.csv", 'text,label\n"a,0\nb,1\n', "line 3 is not CSV"),
        ("a.csv", 'text,label\n"a"b,0\n', "line 2 is not CSV"),
        ("a.csv", "text,label\na\rb,0\n", "line 2 is not CSV"),
        ("a.csv", "te\rxt,label\nb,0\n", "line 1 is not CSV"),
        ("a.tsv", "text\tlabel\na\t0\nb\n", "line 3 has 1 values"),
        ("a.tsv", "\t".join(map(str, range(1001))), "1,001 columns"),
        ("a.csv", b"text\n\xff\n", "line 2 is not valid UTF-8 at byte 1"),
        ("a.csv", "text\na\0\n", "line 2 is binary"),
        ("a.csv", "text\n" + "x" * 2000, "line 2 is longer than 1,000 bytes"),
        ("a.csv", "text\r" + "x" * 2000 + "\r", "line 2 is longer than 1,000 bytes"),
        ("a.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', "line 2 has the name 'a' twice"),
        ("a.jsonl", '{"a": 1, " a": 2}\n', "line 1 has the name 'a' twice, ignoring spaces"),
        ("a.jsonl", '{"a": 1}\n\n{"a": \n', "line 3 is not JSON: Expecting value at column"),
        ("a.jsonl", '{"a": 1}\n7\n', "line 2 is not a JSON object"),
        ("a.jsonl", '{"a":' + "[" * 900 + "\n", "line 1 is not JSON"),
        ("a.json", '[{"a": 1}, 7]', "row 2 is not a JSON object"),
        ("a.json", '[{"a": 1} {"a": 2}]', "row 1 is not followed by a comma"),
        ("a.json", '[{"a": 1},]', "row 2 is not JSON"),
        ("a.json", '[{"a": 1}', "row 1 is not followed by a comma"),
        ("a.json", '[{"a": 1}] x', "has more text after its array"),
        ("a.parquet", "PAR1", "is not Parquet"),
        ("a.csv.gz", zipped(bytes(range(32, 127)) * 9)[:40], "cannot be unzipped"),
        ("a.csv.gz", b"\x1f\x8bnonsense", "cannot be unzipped"),
    ],
)
def test_a_file_is_refused_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        read(write(tmp_path, name, content), longest=5000 if "columns" in words else 1000)
    (problem,) = refused.value.problems
    assert (problem.field, problem.value) == ("data.path", name)
    assert problem.remedy


def test_a_row_stands_where_an_editor_shows_it(tmp_path: Path) -> None:
    def places(path: Path) -> list[tuple[int, str]]:
        with open_table(path, 1000) as table:
            return [(row.number, row.place) for row in table.rows]

    path = write(tmp_path, "a.csv", 'text,label\n"a\nb",0\n\nc,1\n')
    assert places(path) == [(0, "line 2"), (1, "line 5")]
    path = write(tmp_path, "a.json", json.dumps(TWO_JSON))
    assert places(path) == [(0, "row 1"), (1, "row 2")]


def test_parquet_reads_what_is_needed_and_keeps_the_names_of_labels(tmp_path: Path) -> None:
    features = {
        "info": {
            "features": {
                "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
                "text": {"dtype": "string", "_type": "Value"},
            }
        }
    }
    table = pa.table({"text": ["a", "b"], "label": [1, 0], " other ": [None, 1.0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    with open_table(path, 1000, ("text", "label")) as opened:
        assert opened.names == {"label": ("no", "yes")}
        assert [dict(row.values) for row in opened.rows] == [
            {"text": "a", "label": 1},
            {"text": "b", "label": 0},
        ]
    assert [row["other"] for row in read(path)] == [None, 1.0]
    pq.write_table(table.rename_columns(["text", "text", "x"]), path)
    with pytest.raises(InputError, match="two columns named 'text'"):
        read(path)


def test_suffixes() -> None:
    assert known_suffix("x.JSONL.GZ") == ".jsonl"
    assert known_suffix("x.gz") is None
