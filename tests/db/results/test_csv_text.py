"""The rule for cells of CSV."""

from __future__ import annotations

import pytest

from db.results.csv_text import csv_text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (-7, "-7"),
        (-0.5, "-0.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-", "'-"),
        ("@a", "'@a"),
        ("\ta", "'\ta"),
        ("\ra", '"\'\ra"'),
        ("\na", '"\'\na"'),
        ("-5", "-5"),
        ("+1.5e3", "+1.5e3"),
        ("-٣", "'-٣"),
        ("a=1", "a=1"),
        ('a,"b', '"a,""b"'),
    ],
)
def test_a_cell(value: object, cell: str) -> None:
    assert csv_text([["x", value]]) == f"x,{cell}\r\n"
