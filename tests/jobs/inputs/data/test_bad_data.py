"""Data files that are refused: each with its line or row, and in words."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as checked
from hypothesis import strategies as st

from jobs.errors import InputError, Problem
from jobs.settings import Settings
from tests.helpers.data_files import SUFFIXES, spec_of, table_file, written
from tests.helpers.inputs import read_rows, refused


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "x"', "at column 13"),
        ("{'text': 'x'}", "at column 2"),
        ("[" * 100_000, "recursion"),
        ('{"text": ' + "9" * 5000 + "}", "digits"),
        ('["x"]', "is not a JSON object"),
        ('"x"', "is not a JSON object"),
    ],
)
def test_a_broken_json_line_is_named_by_its_number(
    settings: Settings, line: str, reason: str
) -> None:
    path = written(settings, "a.jsonl", '{"text": "a"}\n\n' + line + "\n")
    refused(
        lambda: read_rows(spec_of(path), settings),
        "data.path",
        "line 3 is not",
        reason,
        "a.jsonl",
        "Write one object per line",
    )


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_line_of_ten_megabytes(settings: Settings, name: str) -> None:
    head = '{"text": "a"}\n' if name == "a.jsonl" else "text\n"
    path = written(settings, name, head + "x" * 10_000_000)
    refused(
        lambda: read_rows(spec_of(path), settings),
        "line 2 is longer than 1,000,000 bytes",
        name,
        "HEADWISE_MAX_LINE_BYTES",
    )


def test_a_quoted_cell_over_many_lines_is_limited_too(settings: Settings) -> None:
    path = written(settings, "a.csv", 'text\n"' + "word\n" * 300_000 + '"\n')
    refused(lambda: read_rows(spec_of(path), settings), "is not CSV", "field limit", "a.csv")


def test_a_text_that_is_too_long_in_parquet(settings: Settings) -> None:
    path = table_file(settings, "parquet", [{"text": "x" * 1_000_001}])
    refused(
        lambda: read_rows(spec_of(path), settings),
        "row 1",
        "more than 1,000,000 characters",
        "Shorten it",
    )


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_binary_junk(settings: Settings, name: str) -> None:
    path = written(settings, name, b"\x7fELF\x02\x01\x01\0\0\0junk junk")
    refused(lambda: read_rows(spec_of(path), settings), "line 1 is binary", "Give a text file")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_named(settings: Settings, name: str, encoding: str) -> None:
    path = written(settings, name, '{"text": "x"}\n'.encode(encoding))
    words = ("line 1 is in UTF-16 or UTF-32", "Save the file as UTF-8")
    refused(lambda: read_rows(spec_of(path), settings), *words)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_invalid_utf8_is_named_by_its_line(settings: Settings, name: str) -> None:
    head = '{"text": "a"}\n' if name == "a.jsonl" else "text\n"
    path = written(settings, name, head.encode() + b"caf\xe9\n")
    refused(
        lambda: read_rows(spec_of(path), settings),
        "line 2 is not valid UTF-8 at byte 4",
        name,
        "Save the file as UTF-8",
    )


@pytest.mark.parametrize("text", ["a\\u0000b", "\\ud800"])
def test_a_text_that_no_database_can_store(settings: Settings, text: str) -> None:
    path = written(settings, "a.jsonl", f'{{"text": "{text}"}}\n')
    refused(lambda: read_rows(spec_of(path), settings), "line 1", "NUL", "surrogate", "Remove it")


@pytest.mark.parametrize(
    ("row", "remedy"),
    [("only one", "Fill in the missing values"), ("one,two,three", "Quote texts that contain")],
)
def test_a_csv_row_of_another_length(settings: Settings, row: str, remedy: str) -> None:
    path = written(settings, "a.csv", f"text,label\ngood,no\n{row}\n")
    refused(
        lambda: read_rows(spec_of(path), settings),
        "but the header names 2 columns",
        "a.csv",
        remedy,
    )


def test_an_unnamed_csv_column_is_no_ragged_row(settings: Settings) -> None:
    """pandas writes its index so."""
    path = written(settings, "a.csv", ",text\n0,one\n1,two\n")
    assert read_rows(spec_of(path), settings).text_a == ["one", "two"]


@pytest.mark.parametrize("row", ['"a"b', '"never closed'])
def test_broken_quotes_in_csv(settings: Settings, row: str) -> None:
    path = written(settings, "a.csv", f"text\ngood\n{row}\n")
    refused(lambda: read_rows(spec_of(path), settings), "line 3 is not CSV", "Check its quotes")


@pytest.mark.parametrize("content", [b"PAR1 but not really", b"PAR1\0\0\0\0\0\0\0\0PAR1", b"x"])
def test_broken_parquet(settings: Settings, content: bytes) -> None:
    path = written(settings, "a.parquet", content)
    refused(
        lambda: read_rows(spec_of(path), settings),
        "data.path: is not Parquet",
        "a.parquet",
        "pyarrow or pandas",
    )


def test_half_a_parquet_file(settings: Settings) -> None:
    path = table_file(settings, "parquet", [{"text": f"text {n}"} for n in range(1000)])
    path.write_bytes(path.read_bytes()[:-100])
    refused(lambda: read_rows(spec_of(path), settings), "is not Parquet", "data.parquet")


@pytest.mark.parametrize("name", ["a.doc", "a.xlsx", "a.pickle", "noending"])
def test_an_unknown_format(settings: Settings, name: str) -> None:
    path = written(settings, name, "x")
    refused(
        lambda: read_rows(spec_of(path), settings),
        "data.path: has an unknown format",
        name,
        "Known: .jsonl, .ndjson, .json, .csv, .tsv, .txt, .parquet",
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_text_column_comes_with_the_nearest(settings: Settings, suffix: str) -> None:
    path = table_file(settings, suffix, [{"text": "a", "label": "no"}])
    problem = refused(
        lambda: read_rows(spec_of(path, text_columns=["txet"]), settings),
        "no such column",
        "given: 'txet'",
        "Did you mean 'text'?",
    )
    assert problem.field == "data.text_columns"


def test_a_missing_label_column_comes_with_the_nearest(settings: Settings) -> None:
    path = table_file(settings, "csv", [{"text": "a", "label": "no"}])
    problem = refused(
        lambda: read_rows(spec_of(path, label_column="labels"), settings), "Did you mean 'label'?"
    )
    assert problem.field == "data.label_column"


@pytest.mark.parametrize("text", ["", "   ", "\t"])
def test_an_empty_text_is_named_by_its_row(settings: Settings, text: str) -> None:
    path = table_file(settings, "jsonl", [{"text": "a"}, {"text": text}])
    refused(
        lambda: read_rows(spec_of(path), settings),
        "data.text_columns: line 2: the text is empty",
        "given: 'text'",
        "Fill or remove the row",
    )


@pytest.mark.parametrize("value", [5, 1.5, None, True, ["a"], {"a": 1}])
def test_a_value_that_is_no_text_is_named_by_its_row(settings: Settings, value: object) -> None:
    path = table_file(settings, "jsonl", [{"text": "a"}, {"text": value}])
    refused(
        lambda: read_rows(spec_of(path), settings),
        "line 2: column 'text' is",
        "Name a column of texts",
    )


PARQUET = st.binary(max_size=200) | st.builds(
    lambda cut, flip, value: _damaged(cut, flip, value),
    st.integers(0, 400),
    st.integers(0, 399),
    st.integers(0, 255),
)


def _damaged(cut: int, flip: int, value: int) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["one", "two"], "label": ["no", "yes"]}), sink)
    content = bytearray(sink.getvalue().to_pybytes())
    content[flip % len(content)] = value
    return bytes(content[: len(content) - cut] if cut % 2 else content)


LINES = st.binary(max_size=300) | st.lists(
    st.sampled_from([b'{"text": "a"}', b"text,label", b'"a', b'a"b', b"\xff", b"a,b", b'"', b"\r"])
).map(b"\n".join)


@checked(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(suffix=st.sampled_from(SUFFIXES), data=st.data())
def test_any_file_is_read_or_refused_in_words(
    settings: Settings, suffix: str, data: st.DataObject
) -> None:
    content = data.draw(PARQUET if suffix == "parquet" else LINES)
    path = written(settings, f"any.{suffix}", content)
    problems: tuple[Problem, ...] = ()
    texts: list[str] = []
    try:
        texts = read_rows(spec_of(path, label_column="label"), settings).text_a
    except InputError as error:
        problems = error.problems
    assert bool(texts) != bool(problems)
    assert all(text.strip() for text in texts)
    assert all(problem.field.startswith("data") for problem in problems)
