"""Small files as people bring them, with the right texts and labels written beside each.

From the file through reading and the understanding of its labels, as a submission does. The model's
labels are no, maybe and yes. Rows as they are read, without labels, and more refusals are in
tests/jobs/inputs.
"""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import InputError
from jobs.inputs.data.examples import open_rows
from jobs.kinds.attribution import AttributionSpec
from jobs.settings import Settings
from jobs.specs.base import DataSpec, ModelSpec
from scheduler.submission.submit import Examples, gold_labels

NAMES = ("no", "maybe", "yes")
SCALE = ("1", "2", "3", "4", "5")
"""The labels of a model of stars, which are numbers."""
HEAD = "text,label\n"
TABS = "text\tlabel\n"
ROWS = [{"text": "a", "label": "no"}, {"text": "b", "label": "yes"}]
NO, YES = '{"text": "a", "label": "no"}', '{"text": "b", "label": "yes"}'


def parquet(text: Any, label: Any, **others: Any) -> bytes:
    """A Parquet file of these columns."""
    file = io.BytesIO()
    pq.write_table(pa.table({"text": text, "label": label, **others}), file)
    return file.getvalue()


def zipped(content: str | bytes) -> bytes:
    """Gzip without the time, so that the names of tests stay."""
    return gzip.compress(content.encode() if isinstance(content, str) else content, mtime=0)


READ: dict[str, tuple[str, str | bytes, list[str], list[int | None]]] = {
    # Encodings and ends of lines.
    "csv with a byte order mark": ("a.csv", f"\ufeff{HEAD}a,no\nb,yes\n", ["a", "b"], [0, 2]),
    "tsv with a byte order mark": ("a.tsv", f"\ufeff{TABS}a\tno\nb\tyes\n", ["a", "b"], [0, 2]),
    "array with a byte order mark": ("a.json", f"\ufeff{json.dumps(ROWS)}", ["a", "b"], [0, 2]),
    "two kinds of ends": ("a.csv", "text,label\r\na,no\nb,yes\r\n", ["a", "b"], [0, 2]),
    "csv of carriage returns": ("a.csv", "text,label\ra,no\rb,yes\r", ["a", "b"], [0, 2]),
    "tsv of carriage returns": ("a.tsv", "text\tlabel\ra\tno\rb\tyes\r", ["a", "b"], [0, 2]),
    "jsonl of carriage returns": ("a.jsonl", f"{NO}\r{YES}\r", ["a", "b"], [0, 2]),
    "ends that are none": (
        *("a.jsonl", '{"text": "a\u2028b", "label": "no"}\n{"text": "c\x85d", "label": "yes"}\n'),
        *(["a\u2028b", "c\x85d"], [0, 2]),
    ),
    "vertical tab": ("a.csv", f"{HEAD}a\x0bb,no\n", ["a\x0bb"], [0]),
    "escaped emoji": ("a.jsonl", r'{"text": "\ud83d\ude42", "label": "no"}', ["🙂"], [0]),
    # Blank lines, separators, quotes.
    "blank lines": ("a.csv", f"\n\n{HEAD}\na,no\n\n\nb,yes\n\n", ["a", "b"], [0, 2]),
    "blank lines in tsv": ("a.tsv", f"{TABS}\na\tno\n\n", ["a"], [0]),
    "separators at all ends": ("a.csv", "text,label,\na,no,\nb,yes,\n", ["a", "b"], [0, 2]),
    "tabs at all ends": ("a.tsv", "text\tlabel\t\na\tno\t\n", ["a"], [0]),
    "quotes within quotes": ("a.csv", f'{HEAD}"""no"", twice",no\n', ['"no", twice'], [0]),
    "single quotes": ("a.csv", f"{HEAD}'a',no\n", ["'a'"], [0]),
    "line breaks in cells": (
        *("a.csv", f'{HEAD}"a\nb",no\n"c\r\nd",yes\n', ["a\nb", "c\r\nd"], [0, 2]),
    ),
    "quotes of GLUE": ("a.tsv", f'{TABS}"a\tno\nb"\tyes\n', ['"a', 'b"'], [0, 2]),
    "tabs in .txt": ("a.txt", f"{TABS}a, b\tno\n", ["a, b"], [0]),
    "tabs in .csv": ("a.csv", f"{TABS}a\tno\n", ["a"], [0]),
    "semicolons": ("a.csv", "text;label\na, b;no\nc;yes\n", ["a, b", "c"], [0, 2]),
    "quoted semicolons": ("a.csv", '"text";"label"\n"a; b, c";"no"\n', ["a; b, c"], [0]),
    "index of pandas": ("a.csv", ",text,label\n0,a,no\n1,b,yes\n", ["a", "b"], [0, 2]),
    "blanks in the header": ("a.csv", "text, label\na, no\nb, yes\n", ["a", "b"], [0, 2]),
    "blanks around a text": ("a.csv", f"{HEAD}  a  ,no\n", ["  a  "], [0]),
    "numbers as texts": ("a.csv", f"{HEAD}12,no\n3.50,yes\n", ["12", "3.50"], [0, 2]),
    "words for nothing as texts": ("a.csv", f"{HEAD}nan,no\nNone,yes\n", ["nan", "None"], [0, 2]),
    # JSON.
    "array": ("a.json", json.dumps(ROWS, indent=1), ["a", "b"], [0, 2]),
    "keys in another order": ("a.jsonl", f'{NO}\n{{"label": "yes", "x": 1, "text": "b"}}\n',
                              ["a", "b"], [0, 2]),
    "nested beside the texts": (
        *("a.jsonl", '{"text": "a", "label": "no", "of": {"text": "x", "n": [1]}}\n', ["a"], [0]),
    ),
    # Compression.
    "gzip of tsv": ("a.tsv.gz", zipped(f"{TABS}a\tno\n"), ["a"], [0]),
    "gzip of several members": (
        *("a.csv.gz", zipped(f"{HEAD}a,no\n") + zipped("b,yes\n"), ["a", "b"], [0, 2]),
    ),
    # Labels.
    "labels of floats": ("a.csv", f"{HEAD}a,1.0\nb,0.0\n", ["a", "b"], [1, 0]),
    "labels in capitals": ("a.csv", f"{HEAD}a,No\nb,YES\n", ["a", "b"], [0, 2]),
    "labels in blanks": ("a.jsonl", '{"text": "a", "label": " no "}\n', ["a"], [0]),
    "no label is -1": ("a.csv", f"{HEAD}a,-1\nb,2\n", ["a", "b"], [None, 2]),
    "no label is -1.0": ("a.csv", f"{HEAD}a,-1.0\nb,2.0\n", ["a", "b"], [None, 2]),
    "no label is empty": ("a.csv", f"{HEAD}a,\nb,maybe\n", ["a", "b"], [None, 1]),
    "no label is null": (
        *("a.jsonl", f'{{"text": "a", "label": null}}\n{YES}\n', ["a", "b"], [None, 2]),
    ),
    "no label is NaN": (
        *("a.jsonl", f'{{"text": "a", "label": NaN}}\n{YES}\n', ["a", "b"], [None, 2]),
    ),
    # Parquet.
    "dictionaries": (
        "a.parquet",
        parquet(*(pa.array(one).dictionary_encode() for one in ("aba", ["no", "yes", "no"]))),
        *(["a", "b", "a"], [0, 2, 0]),
    ),
    "large strings": (
        "a.parquet",
        parquet(*(pa.array(one, pa.large_string()) for one in (["a", "b"], ["no", "yes"]))),
        *(["a", "b"], [0, 2]),
    ),
    "views of strings": (
        "a.parquet",
        parquet(*(pa.array(one).cast(pa.string_view()) for one in (["a", "b"], ["no", "yes"]))),
        *(["a", "b"], [0, 2]),
    ),
    "labels of bytes": (
        *("a.parquet", parquet(["a", "b"], pa.array([0, 2], pa.int8())), ["a", "b"], [0, 2]),
    ),
    "integers with gaps": (
        *("a.parquet", parquet(["a", "b"], pa.array([0, None], pa.int64())), ["a", "b"], [0, None]),
    ),
    "floats with gaps": (
        *("a.parquet", parquet(["a", "b"], [float("nan"), 2.0]), ["a", "b"], [None, 2]),
    ),
    "decimals": (
        *("a.parquet", parquet(["a"], pa.array([1], pa.decimal128(3, 0))), ["a"], [1]),
    ),
    "a column of nothing": ("a.parquet", parquet(["a"], pa.nulls(1)), ["a"], [None]),
    "lists beside the texts": (
        *("a.parquet", parquet(["a"], ["no"], vector=[[1.0, 2.0]]), ["a"], [0]),
    ),
}  # fmt: skip
"""By what is special: the file, its content, the right texts, and the right labels."""

STARS: dict[str, tuple[str, str | bytes]] = {
    "csv": ("a.csv", f"{HEAD}a,1\nb,4\n"),
    "csv of floats": ("a.csv", f"{HEAD}a,1.0\nb,4.0\n"),
    "json numbers": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 4}\n'),
    "json texts": ("a.jsonl", '{"text": "a", "label": "1"}\n{"text": "b", "label": "4"}\n'),
    "parquet integers": ("a.parquet", parquet(["a", "b"], [1, 4])),
    "parquet floats": ("a.parquet", parquet(["a", "b"], [1.0, 4.0])),
}

REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "utf-16": ("a.csv", f"{HEAD}a b,no\n".encode("utf-16"), "line 1 is in UTF-16"),
    "utf-16 without a mark": ("a.tsv", f"{TABS}a\tno\n".encode("utf-16-be"), "line 1 is in UTF-16"),
    "latin-1": (
        "a.csv",
        f"{HEAD}café,no\n".encode("latin-1"),
        "line 2 is not valid UTF-8 at byte 4",
    ),
    "quotes of Windows": ("a.csv", f"{HEAD}“a”,no\n".encode("cp1252"), "line 2 is not valid UTF-8"),
    "NUL": ("a.csv", f"{HEAD}a long text\0,no\n", "line 2 is binary"),
    "NUL in JSON": ("a.jsonl", r'{"text": "a\u0000b", "label": "no"}', "line 1: .* NUL"),
    "NUL in Parquet": ("a.parquet", parquet(["a\0b"], ["no"]), "row 1: .* NUL"),
    "half a surrogate pair": ("a.jsonl", r'{"text": "\ud83d", "label": "no"}', "surrogate"),
    "empty": ("a.csv", "", "is empty"),
    "empty inside": ("a.csv.gz", zipped(""), "selects no rows"),
    "a mark alone": ("a.csv", "\ufeff", "selects no rows"),
    "a header alone": ("a.csv", HEAD, "selects no rows"),
    "a header without its end": ("a.tsv", TABS[:-1], "selects no rows"),
    "blank lines alone": ("a.jsonl", "\n\n", "selects no rows"),
    "an empty array": ("a.json", "[]", "selects no rows"),
    "no rows in Parquet": (
        *("a.parquet", parquet(pa.array([], pa.string()), pa.array([], pa.string()))),
        "selects no rows",
    ),
    "no header": ("a.csv", "a,no\nb,yes\n", "no such column .*'text'.* Known: a, no"),
    "separators at ends of rows": ("a.csv", f"{HEAD}a,no,\n", "line 2 has 3 values"),
    "a line of blanks": ("a.csv", f"{HEAD}a,no\n   \n", "line 3 has 1 values"),
    "a comment": ("a.csv", f"# by hand\n{HEAD}a,no\n", "line 2 has 2 values"),
    "an empty text": ("a.csv", f"{HEAD},no\n", "line 2: the text is empty"),
    "a text of null": (
        "a.jsonl",
        '{"text": null, "label": "no"}',
        "line 1: column 'text' is not text",
    ),
    "a text of a number": (
        "a.jsonl",
        '{"text": 12, "label": "no"}',
        "line 1: column 'text' is not",
    ),
    "a nested text": ("a.jsonl", '{"text": {"a": 1}, "label": "no"}', "line 1: .* is nested"),
    "a list as text": ("a.parquet", parquet([["a"]], ["no"]), "row 1: .* is nested"),
    "bytes as text": ("a.parquet", parquet([b"a"], ["no"]), "row 1: column 'text' is not text"),
    "a gap among texts": ("a.parquet", parquet(["a", None], ["no", "yes"]), "row 2: column 'text'"),
    "a key that comes later": ("a.jsonl", f'{{"text": "a"}}\n{YES}\n', "line 1 has no such column"),
    "a key that is lost": ("a.jsonl", f'{NO}\n{{"label": "no"}}\n', "line 2 has no such column"),
    "an object of columns": ("a.json", '{"text": ["a"], "label": ["no"]}', "is nested, not text"),
    "an object around the rows": ("a.json", '{\n"data": []}', "one object per line, or one array"),
    "objects without ends": ("a.jsonl", NO + YES, "one object per line, or one array"),
    "objects over lines": ("a.json", '{\n"text": "a"\n}\n', "one object per line, or one array"),
    "commas after lines": ("a.jsonl", f"{NO},\n{YES},\n", "one object per line, or one array"),
    "arrays in lines": ("a.jsonl", '["a", "no"]\n["b", "yes"]\n', "row 1 is not a JSON object"),
    "gzip of gzip": ("a.csv.gz", zipped(zipped(f"{HEAD}a,no\n" * 9)), "line 1 is "),
    "Parquet called csv": ("a.csv", parquet(["a"], ["no"]), "line [12] is "),
    "csv called Parquet": ("a.parquet", f"{HEAD}a,no\n", "is not Parquet"),
    "csv called jsonl": ("a.jsonl", f"{HEAD}a,no\n", "line 1 is not JSON"),
    "a label of true": ("a.jsonl", '{"text": "a", "label": true}', "line 1 has a label that"),
    "a label of infinity": ("a.jsonl", '{"text": "a", "label": Infinity}', "line 1 has a label"),
    "a label of a list": ("a.jsonl", '{"text": "a", "label": ["no"]}', "line 1 has a nested value"),
    "half a label": ("a.parquet", parquet(["a", "b"], [0.5, 2.0]), "row 1 has a label that"),
    "a label too many": ("a.csv", f"{HEAD}a,3\n", "line 2 has a label that"),
    "a label of another kind": ("a.csv", f"{HEAD}a,no\nb,2\n", "line 3 has a label that"),
    "a misspelt label": ("a.csv", f"{HEAD}a,no\nb,yess\n", "line 3 has a label that"),
}


def read(
    settings: Settings, name: str, content: str | bytes, labels: tuple[str, ...] = NAMES
) -> tuple[list[str], list[int | None]]:
    """The texts and labels of a file, as a submission reads it."""
    path = settings.home / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    data = DataSpec(path=str(path), text_columns=("text",), label_column="label")
    spec = AttributionSpec(model=ModelSpec(name="./model"), data=data)
    with open_rows(data, settings) as rows:
        examples = list(Examples(rows, gold_labels(rows.summary, labels, spec)))
    return [one.text_a for one in examples], [one.gold for one in examples]


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    """Settings whose data folder is the test's own."""
    return Settings(home=tmp_path)


@pytest.mark.parametrize("case", READ)
def test_a_file_has_these_texts_and_labels(settings: Settings, case: str) -> None:
    name, content, texts, labels = READ[case]
    assert read(settings, name, content) == (texts, labels)


@pytest.mark.parametrize("case", STARS)
def test_names_that_are_numbers_are_names_from_every_source(settings: Settings, case: str) -> None:
    assert read(settings, *STARS[case], SCALE) == (["a", "b"], [0, 3])


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_is_refused_in_words(settings: Settings, case: str) -> None:
    name, content, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as refused:
        read(settings, name, content)
    (problem,) = refused.value.problems
    assert problem.field.startswith("data")
    assert problem.remedy
    assert "\n" not in str(refused.value)
