"""Reading data: what is selected, and how each kind of bad input is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.inputs.data.examples import preview
from jobs.settings import Settings
from tests.helpers.data_files import SUFFIXES, spec_of, table_file, written
from tests.helpers.inputs import LABELS, data_file, read_rows, refused


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_rows(settings: Settings, suffix: str) -> None:
    rows = [{"text": f"text {n}", "other": f"other {n}", "label": LABELS[n % 3]} for n in range(5)]
    path = table_file(settings, suffix, rows)
    found = read_rows(spec_of(path, text_columns=["text", "other"], label_column="label"), settings)
    assert found.text_a == [f"text {n}" for n in range(5)]
    assert found.text_b == [f"other {n}" for n in range(5)]
    assert found.labels == ["no", "maybe", "yes", "no", "maybe"]
    assert found.source_rows == [0, 1, 2, 3, 4]


def test_one_text_column_gives_no_second_text(settings: Settings) -> None:
    found = read_rows(spec_of(written(settings, "a.jsonl", '{"text": "x"}\n')), settings)
    assert (found.text_a, found.text_b, found.labels) == (["x"], None, [None])


def test_offset_limit_and_sample_select_rows_in_their_order(settings: Settings) -> None:
    path = table_file(settings, "jsonl", [{"text": f"text {n}"} for n in range(50)])
    some = read_rows(spec_of(path, offset=10, limit=5), settings)
    assert some.source_rows == [10, 11, 12, 13, 14]
    assert some.text_a[0] == "text 10"
    drawn = read_rows(spec_of(path, sample=7, seed=3), settings)
    assert len(drawn.text_a) == 7
    assert drawn.source_rows == sorted(set(drawn.source_rows))
    assert drawn.text_a == [f"text {n}" for n in drawn.source_rows]
    assert drawn == read_rows(spec_of(path, sample=7, seed=3), settings)
    assert drawn != read_rows(spec_of(path, sample=7, seed=4), settings)
    assert len(read_rows(spec_of(path, sample=500), settings).text_a) == 50


def test_a_data_folder_is_not_needed(settings: Settings, tmp_path: Path) -> None:
    path = table_file(settings, "jsonl", [{"text": "a"}])
    away = settings.model_copy(
        update={"home": tmp_path / "nowhere", "allowed_folders": str(path.parent)}
    )
    assert away.scratch is None
    assert read_rows(spec_of(path), away).text_a == ["a"]


def test_the_fingerprint_depends_on_texts_labels_and_row_numbers(settings: Settings) -> None:
    rows = [{"text": "one", "label": "no"}, {"text": "two", "label": "yes"}]
    path = table_file(settings, "jsonl", rows)
    first = read_rows(spec_of(path, label_column="label"), settings).summary.fingerprint
    assert first == read_rows(spec_of(path, label_column="label"), settings).summary.fingerprint
    assert first != read_rows(spec_of(path), settings).summary.fingerprint
    assert (
        first
        != read_rows(spec_of(path, label_column="label", limit=1), settings).summary.fingerprint
    )
    table_file(settings, "jsonl", [{"text": "one!", "label": "no"}, rows[1]])
    assert first != read_rows(spec_of(path, label_column="label"), settings).summary.fingerprint


def test_rows_beyond_the_limit_are_not_looked_at(settings: Settings) -> None:
    path = written(settings, "a.jsonl", '{"text": "good"}\nbroken\n')
    assert len(read_rows(spec_of(path, limit=1), settings).text_a) == 1


def test_blank_lines_are_skipped_but_counted(settings: Settings) -> None:
    path = written(settings, "a.jsonl", '\n{"text": "a"}\n\n  \n{"text": ""}\n')
    refused(lambda: read_rows(spec_of(path), settings), "line 5", "text is empty")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_byte_order_mark_is_no_part_of_the_data(settings: Settings, name: str) -> None:
    content = '{"text": "é"}\n' if name == "a.jsonl" else "text\né\n"
    path = written(settings, name, b"\xef\xbb\xbf" + content.encode())
    assert read_rows(spec_of(path), settings).text_a == ["é"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file(settings: Settings, suffix: str) -> None:
    path = written(settings, f"a.{suffix}", b"")
    refused(
        lambda: read_rows(spec_of(path), settings),
        "data.path: is empty",
        path.name,
        "at least one row",
    )


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", "\n \n"), ("a.csv", "text,label\n")])
def test_a_file_without_rows(settings: Settings, name: str, content: str) -> None:
    path = written(settings, name, content)
    refused(lambda: read_rows(spec_of(path), settings), "data: selects no rows", "data is empty")


def test_an_offset_past_the_end(settings: Settings) -> None:
    path = data_file(settings.home / "a.jsonl", 3)
    problem = refused(
        lambda: read_rows(spec_of(path, text_columns=["premise"], offset=3), settings),
        "selects no rows",
        "given: 3",
        "past its end",
    )
    assert problem.field == "data.offset"


def test_quoted_csv_cells_may_hold_separators_quotes_and_line_ends(settings: Settings) -> None:
    path = written(settings, "a.csv", 'text,label\r\n"one, ""two""\r\nthree",no\r\nfour,yes\r\n')
    found = read_rows(spec_of(path, label_column="label"), settings)
    assert found.text_a == ['one, "two"\r\nthree', "four"]
    assert found.labels == ["no", "yes"]


def test_a_preview_shows_the_columns_and_the_first_rows(settings: Settings) -> None:
    path = data_file(settings.home / "a.jsonl", 9)
    head = preview(path, settings, rows=2)
    assert head.columns == ("premise", "hypothesis", "label")
    assert [row["premise"] for row in head.rows] == ["text 0", "text 1"]
    refused(
        lambda: preview(written(settings, "b.csv", "text\n"), settings), "b.csv", "at least one row"
    )
