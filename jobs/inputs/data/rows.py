"""The selected rows of a job's data, and what is learnt of them by looking at each once.

The process that reads data files imports this, so that rows need not leave it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MOST_LABELS, LABEL_CHARACTERS = 10_000, 1_000_000
"""Different labels that a summary holds, and their characters together; no model has more."""
LONGEST_TEXTS, LONGEST_CHARACTERS = 64, 200_000
"""The number of the longest texts that a summary holds, and their characters together."""
FIRST_CHARACTERS = 300
_encode = json.JSONEncoder(default=str).encode


class SelectedRow(NamedTuple):
    """A row that a job is to have as an example."""

    number: int
    """From 0."""
    place: str
    """Its place, for messages."""
    texts: tuple[str, ...]
    """One, or a pair."""
    label: object


class HashedRow(NamedTuple):
    """A selected row with the hash of its texts."""

    number: int
    place: str
    texts: tuple[str, ...]
    label: object
    text_hash: str

    @classmethod
    def of(cls, row: SelectedRow) -> HashedRow:
        """Hash a row's texts."""
        return cls(*row, text_hash(row.texts))


class LongText(NamedTuple):
    """A row whose text is among the longest."""

    place: str
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Facts about selected rows, without most of their texts."""

    examples: int
    fingerprint: str
    """SHA-256 over texts, labels and row numbers: what the results depend on."""
    format: str
    """Format of the file, in words; empty for other data."""
    first_texts: tuple[str, ...]
    """The texts of the first row, as far as a page shows them."""
    labels: tuple[object, ...]
    """The different labels, in the order in which they come."""
    places: tuple[str, ...]
    """By label, where it comes first."""
    counts: tuple[int, ...]
    """By label, the number of its rows."""
    all_labels: bool
    """False where there are more of them than a summary holds."""
    class_labels: bool
    """Numbers in the label column have names in the data (ClassLabel)."""
    longest: tuple[LongText, ...]
    """Rows to try a tokenizer on."""
    characters: float = 0.0
    """Of a row's texts, on average."""

    @property
    def size(self) -> int:
        """About its number of characters."""
        labels = sum(len(str(label)) for label in self.labels) + sum(map(len, self.places))
        return labels + sum(sum(map(len, one.parts)) for one in self.longest)


class Summarizer:
    """Looks at rows in their order, and keeps little of each."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._count = 0
        self._characters_of_texts = 0
        self._first: tuple[str, ...] = ()
        self._labels: dict[str, tuple[object, str]] = {}
        self._counts: Counter[str] = Counter()
        self._characters = 0
        self._all_labels = True
        self._longest: list[tuple[int, int, LongText]] = []

    def watch(self, rows: Iterable[SelectedRow]) -> Iterator[SelectedRow]:
        """Yield the rows unchanged, and look at each."""
        for row in rows:
            self._look(row)
            yield row

    def summary(self, format_: str = "", *, class_labels: bool = False) -> Summary:
        """Summarize the rows so far, with what is known of their file."""
        return Summary(
            examples=self._count,
            fingerprint=self._digest.hexdigest(),
            format=format_,
            first_texts=tuple(text[:FIRST_CHARACTERS] for text in self._first),
            labels=tuple(label for label, _ in self._labels.values()),
            places=tuple(place for _, place in self._labels.values()),
            counts=tuple(self._counts[name] for name in self._labels),
            all_labels=self._all_labels,
            class_labels=class_labels,
            longest=tuple(self._fitting()),
            characters=self._characters_of_texts / self._count if self._count else 0.0,
        )

    def _look(self, row: SelectedRow) -> None:
        texts = row.texts
        first, second = (*texts, "")[:2]
        self._digest.update(_encode((row.number, first, second, row.label)).encode())
        self._first = self._first or texts
        self._keep_label(row)
        size = sum(map(len, texts))
        self._characters_of_texts += size
        # One that is too long by itself takes a place, but no memory.
        parts = texts if size <= LONGEST_CHARACTERS else ()
        kept = (size, -self._count, LongText(row.place, parts))
        add = heapq.heappush if len(self._longest) < LONGEST_TEXTS else heapq.heappushpop
        add(self._longest, kept)
        self._count += 1

    def _keep_label(self, row: SelectedRow) -> None:
        name = repr(row.label)
        if name not in self._labels:
            self._characters += len(name)
            if len(self._labels) == MOST_LABELS or self._characters > LABEL_CHARACTERS:
                self._all_labels = False
                return
            self._labels[name] = (row.label, row.place)
        self._counts[name] += 1

    def _fitting(self) -> Iterator[LongText]:
        left = LONGEST_CHARACTERS
        for size, _, text in sorted(self._longest, reverse=True):
            if size <= left:
                left -= size
                yield text


def text_hash(texts: Sequence[str]) -> str:
    """SHA-256 of a text, or of a pair."""
    first, second = (*texts, None)[:2]
    return hashlib.sha256(json.dumps([first, second]).encode()).hexdigest()


def drawn(count: int, sample: int | None, seed: int) -> Iterable[int]:
    """Positions of the rows that a sample takes, in their order; all of them without a sample."""
    if sample is None or sample >= count:
        return range(count)
    return sorted(random.Random(seed).sample(range(count), sample))  # noqa: S311
