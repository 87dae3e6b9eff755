"""Guesses at the columns of a data file."""

from __future__ import annotations

import pytest

from jobs.inputs.data.columns import guess_columns


@pytest.mark.parametrize(
    ("columns", "values", "texts", "label"),
    [
        (
            ("idx", "hypothesis", "premise", "label"),
            (1, "b", "a", 0),
            ("premise", "hypothesis"),
            "label",
        ),
        (("Sentence", "Label"), ("a", 1), ("Sentence",), "Label"),
        (("question", "answer"), ("a", "b"), ("question", "answer"), None),
        (("label",), ("x",), (), "label"),
        ((), (), (), None),
    ],
)
def test_names(
    columns: tuple[str, ...], values: tuple[object, ...], texts: tuple[str, ...], label: str | None
) -> None:
    found = guess_columns(columns, [dict(zip(columns, values, strict=True))])
    assert (found.text_columns, found.label_column) == (texts, label)


def test_content_where_no_name_says_anything() -> None:
    rows = [
        {"a": f"id-{number}", "b": f"a line of words {number}", "c": ("pos", "neg")[number % 2]}
        for number in range(6)
    ]
    found = guess_columns(("a", "b", "c"), rows)
    assert (found.text_columns, found.label_column) == (("b",), "c")
    # Neither numbers that are all different nor a second column of the kind are labels.
    assert guess_columns(("a", "b"), rows).label_column is None
    twice = [{**row, "d": row["c"]} for row in rows]
    assert guess_columns(("a", "b", "c", "d"), twice).label_column is None
