"""The reading of data, in words and counts; the warning about accuracy at chance."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwise.models.labels import read_labels
from jobs.inputs.data.summary import summarize
from jobs.inputs.data.understood import Understood, chance_warning
from jobs.settings import Settings
from jobs.specs.base import DataSpec

NLI = ("entailment", "neutral", "contradiction")


def understood(settings: Settings, path: Path, names: tuple[str, ...] = NLI) -> Understood:
    """The same from a summary as from what is stored."""
    spec = DataSpec(path=str(path), text_columns=("text",), label_column="label")
    summary = summarize(spec, settings)
    found = Understood.of(summary, read_labels(summary.labels, names), names, spec)
    assert found == Understood.from_json(found.to_json())
    return found


def test_labels_by_index(settings: Settings) -> None:
    path = settings.home / "a.tsv"
    path.write_text("text\tlabel\na\t0\nb\t2\nc\t0\nd\t-1\n")
    found = understood(settings, path)
    assert (found.rows, found.labels_by) == (4, "index")
    assert found.label_counts == {"entailment": 2, "neutral": 0, "contradiction": 1, "": 1}
    assert " ".join(found.sentences) == (
        "Tab-separated, 4 rows. Texts from text. Labels from label, read by index: "
        "0 entailment: 2, 1 neutral: 0, 2 contradiction: 1, without a label: 1."
    )


def test_labels_by_name(settings: Settings) -> None:
    path = settings.home / "a.csv"
    path.write_text("text,label\n" + "a,neutral\n" * 1200)
    assert understood(settings, path).sentences == [
        "CSV separated by commas, 1,200 rows.",
        "Texts from text.",
        "Labels from label, read by name: entailment: 0, neutral: 1,200, contradiction: 0.",
    ]


def test_labels_by_the_names_of_the_file(settings: Settings) -> None:
    """`datasets.to_parquet()` keeps the names of a ClassLabel, here in another order."""
    info = {"features": {"label": {"_type": "ClassLabel", "names": [*reversed(NLI)]}}}
    table = pa.table({"text": ["a", "b"], "label": [0, 2]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": info})})
    pq.write_table(table, settings.home / "a.parquet")
    found = understood(settings, settings.home / "a.parquet")
    assert found.labels_by == "class-label"
    assert found.label_counts == {"entailment": 1, "neutral": 0, "contradiction": 1}
    assert "by the names that the data gives its numbers (ClassLabel)" in found.sentences[-1]


def test_no_labels(settings: Settings) -> None:
    path = settings.home / "a.jsonl"
    path.write_text('{"text": "a", "label": null}\n{"text": "b", "label": -1}\n')
    found = understood(settings, path)
    assert (found.labels_by, found.label_counts[""]) == ("nothing", 2)
    assert found.sentences == [
        "JSON lines, 2 rows.",
        "Texts from text.",
        "No row has a label in label.",
    ]


def test_many_labels_are_cut(settings: Settings) -> None:
    path = settings.home / "a.csv"
    path.write_text("text,label\na,3\n")
    found = understood(settings, path, tuple(f"topic {n}" for n in range(50)))
    assert found.sentences[-1].endswith("19 topic 19: 0, 30 more labels.")
    assert "3 topic 3: 1," in found.sentences[-1]


READ = Understood(
    format="CSV",
    rows=30,
    text_columns=("text",),
    label_column="label",
    labels_by="index",
    label_counts={"no": 10, "maybe": 10, "yes": 10},
)


def test_accuracy_at_chance_is_warned_of() -> None:
    confusion = {(0, 0): 5, (0, 1): 9, (1, 2): 10, (2, 2): 4, (2, 0): 1}
    assert chance_warning(confusion, 3, READ) == (
        "accuracy 31 % on 29 labelled examples is at or below chance, 33 %: labels may be read "
        "wrongly, or the model is not for this data. Labels from label, read by index: 0 no: 10, "
        "1 maybe: 10, 2 yes: 10"
    )
    assert str(chance_warning(confusion, 3, None)).endswith("not for this data")


@pytest.mark.parametrize(
    ("confusion", "classes"),
    [
        ({(0, 0): 11, (1, 0): 19}, 3),  # 37 %
        ({(0, 1): 9}, 2),  # too few
        ({(0, 0): 40}, 1),  # no classes
        ({}, 3),
    ],
)
def test_no_warning(confusion: dict[tuple[int, int], int], classes: int) -> None:
    assert chance_warning(confusion, classes, READ) is None


def test_exactly_chance_is_warned_of() -> None:
    assert chance_warning({(0, 0): 10, (1, 0): 10}, 2, None)
