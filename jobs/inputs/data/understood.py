"""The reading of a submission's data: shown in the form, and stored for the job's page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jobs.formatting import counted, percent

if TYPE_CHECKING:
    from headwise.models.labels import Labels
    from jobs.inputs.data.rows import Summary
    from jobs.specs.base import DataSpec

SHOWN_LABELS = 20
FEWEST_LABELLED = 10
"""With fewer labelled examples, an accuracy at chance says nothing."""

_LABELS_BY = {
    "name": "by name",
    "index": "by index",
    "class-label": "by the names that the data gives its numbers (ClassLabel)",
}


@dataclass(frozen=True, kw_only=True)
class Understood:
    """The reading of a job's data."""

    format: str
    """Format of the file, in words; empty for other data."""
    rows: int
    """Rows that were selected."""
    text_columns: tuple[str, ...]
    label_column: str | None
    labels_by: str
    """``name``, ``index``, ``class-label`` (by the names that the data holds), or ``nothing`` where
    no row has a label."""
    label_counts: Mapping[str, int]
    """Rows by label, in the order of the model's outputs; those without one under ``''``."""
    notes: tuple[str, ...] = ()
    """Treatment of the data that one may not expect."""

    @classmethod
    def of(cls, data: Summary, labels: Labels, names: Sequence[str], spec: DataSpec) -> Understood:
        """Describe data whose labels were read as `labels`; `names` are the model's."""
        counted_rows: Counter[int | None] = Counter()
        for index, count in zip(labels.indices, data.counts, strict=True):
            counted_rows[index] += count
        counts = {name: counted_rows[number] for number, name in enumerate(names)}
        by_names_of_data = labels.by == "name" and data.class_labels
        return cls(
            format=data.format,
            rows=data.examples,
            text_columns=spec.text_columns,
            label_column=spec.label_column,
            labels_by="class-label" if by_names_of_data else labels.by,
            label_counts={**counts, **({"": counted_rows[None]} if counted_rows[None] else {})},
        )

    @classmethod
    def from_json(cls, stored: str) -> Understood:
        """Read what `to_json` wrote."""
        values = json.loads(stored)
        lists = {name: tuple(values.get(name, ())) for name in ("text_columns", "notes")}
        return cls(**{**values, **lists})

    def to_json(self) -> str:
        """The JSON object that is stored with the job."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def as_json(self) -> dict[str, Any]:
        """The fields and their `sentences`, for the API."""
        return {**asdict(self), "sentences": self.sentences}

    @property
    def sentences(self) -> list[str]:
        """The same in words."""
        return self.columns + ([f"{self._labels}."] if self.label_column is not None else [])

    @property
    def columns(self) -> list[str]:
        """Format, rows and text columns in words."""
        summary = ", ".join(filter(None, (self.format, counted(self.rows, "row"))))
        return [
            f"{summary[0].upper()}{summary[1:]}.",
            f"Texts from {' and '.join(self.text_columns)}.",
        ]

    @property
    def labels_read(self) -> str:
        """The way in which the labels were read, in words."""
        if self.labels_by not in _LABELS_BY:
            return f"No row has a label in {self.label_column}."
        return f"Labels from {self.label_column}, read {_LABELS_BY[self.labels_by]}."

    @property
    def _labels(self) -> str:
        if self.labels_by not in _LABELS_BY:
            return f"No row has a label in {self.label_column}"
        counts = [(name, n) for name, n in self.label_counts.items() if name]
        parts = [
            f"{place if self.labels_by == 'index' else ''} {name}: {n:,}".strip()
            for place, (name, n) in enumerate(counts[:SHOWN_LABELS])
        ]
        more = len(counts) - SHOWN_LABELS
        parts += [f"{more:,} more labels"] if more > 0 else []
        parts += [f"without a label: {without:,}"] if (without := self.label_counts.get("")) else []
        how = _LABELS_BY[self.labels_by]
        return f"Labels from {self.label_column}, read {how}: {', '.join(parts)}"


def chance_warning(
    confusion: Mapping[tuple[int, int], int], classes: int, understood: Understood | None
) -> str | None:
    """The warning about a job whose predictions are right no more often than at random.

    confusion: examples by gold and predicted label
    """
    n = sum(confusion.values())
    right = sum(count for (gold, predicted), count in confusion.items() if gold == predicted)
    if classes < 2 or n < FEWEST_LABELLED or right * classes > n:
        return None
    summary = (
        f"accuracy {percent(right / n, 0)} on {counted(n, 'labelled example')} is at or below "
        f"chance, {percent(1 / classes, 0)}: labels may be read wrongly, or the model is not for "
        "this data"
    )
    if understood is not None and understood.labels_by in _LABELS_BY:
        summary += f". {understood._labels}"
    return summary
