"""The demo's sentence pairs: form, balance, variety."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import demo
from demo.model import LABELS

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    text = Path(demo.__file__).with_name("pairs.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_every_row_has_an_id_two_texts_and_a_known_label(rows: list[Row]) -> None:
    assert [row["id"] for row in rows] == [f"demo-{n:03}" for n in range(1, len(rows) + 1)]
    for row in rows:
        assert set(row) == {"id", "premise", "hypothesis", "label"}
        assert row["label"] in LABELS
        for text in (row["premise"], row["hypothesis"]):
            assert len(text.split()) >= 3
            assert text == text.strip()
            assert text.isprintable()


def test_labels_are_balanced_and_so_is_every_beginning(rows: list[Row]) -> None:
    counts = Counter(row["label"] for row in rows)
    assert len(rows) >= 240
    assert counts == dict.fromkeys(LABELS, len(rows) // 3)
    for end in range(6, len(rows) + 1):
        shares = Counter(row["label"] for row in rows[:end])
        assert max(shares.values()) - min(shares[label] for label in LABELS) <= 1


def test_no_pair_and_no_hypothesis_comes_twice(rows: list[Row]) -> None:
    assert max(Counter((row["premise"], row["hypothesis"]) for row in rows).values()) == 1
    assert max(Counter(row["hypothesis"].casefold() for row in rows).values()) == 1


def test_a_premise_with_several_hypotheses_has_one_per_label(rows: list[Row]) -> None:
    for premise, count in Counter(row["premise"] for row in rows).items():
        labels = [row["label"] for row in rows if row["premise"] == premise]
        assert len(set(labels)) == count


def test_lengths_vary_as_in_real_text(rows: list[Row]) -> None:
    lengths = [len(f"{row['premise']} {row['hypothesis']}".split()) for row in rows]
    assert 25 <= sum(lengths) / len(lengths) <= 35
    assert min(lengths) <= 12
    assert max(lengths) >= 70


@pytest.mark.parametrize(
    ("premise", "hypothesis", "label"),
    [
        ("John is very poor in science", "John failed in physics exam", "entailment"),
        ("Titanic is a very sad movie", "It rains heavily in the summer", "neutral"),
        (
            "Titanic ice is a very sad florida movie",
            "It floods rains heavily in iowa the summer",
            "neutral",
        ),
    ],
)
def test_the_notebooks_pairs_come_first(
    rows: list[Row], premise: str, hypothesis: str, label: str
) -> None:
    first = [(row["premise"], row["hypothesis"], row["label"]) for row in rows[:3]]
    assert (premise, hypothesis, label) in first
