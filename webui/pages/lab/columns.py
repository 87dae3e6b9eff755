"""The columns of the text lab: what is known of one text, and how two differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Example
from db.reads.status import Status, status_of
from headwise.figures.sentence import underlined
from headwise.naming import head_name
from headwise.sentences import Sentence, read_pieces
from jobs.errors import NotFoundError
from scheduler.figures.examples import ALL, ShownExample, shown_of
from webui.context import database, settings
from webui.figures.examples import show_arcs, show_tree, show_words
from webui.figures.shown import ShownSentence
from webui.pages.results.explained import chosen_head, grid_of, pair_of, text_names

PAIRS, HEADS = 6, 6
"""Strongest pairs of a column, and heads of a comparison."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One text and what the classifier made of it; without results while it waits."""

    job: Job
    status: Status
    shown: ShownExample | None = None
    pairs: Sequence[dict[str, Any]] = ()
    grid: dict[str, Any] | None = None
    chosen: dict[str, Any] | None = None
    tree_choices: Mapping[str, str] = field(default_factory=dict)

    @property
    def example(self) -> Example | None:
        """The text with its results."""
        return None if self.shown is None else self.shown.example

    @cached_property
    def sentence(self) -> Sentence | None:
        """Its words with their values."""
        if self.shown is None or not self.shown.example.token_attribution:
            return None
        return self.shown.sentence()

    @cached_property
    def words(self) -> ShownSentence | None:
        """The figure of its words; drawn on demand, as the next two: a file has none."""
        return show_words(self.shown, f"words-{self.job.id}", site=ALL) if self.shown else None

    @cached_property
    def arcs(self) -> ShownSentence | None:
        """The figure of its strongest pairs."""
        return show_arcs(self.shown, f"arcs-{self.job.id}") if self.shown else None

    @cached_property
    def tree(self) -> ShownSentence | None:
        """The figure of its tree."""
        if self.shown is None:
            return None
        return show_tree(self.shown, f"tree-{self.job.id}", **self.tree_choices)

    @property
    def ready(self) -> bool:
        """True once nothing more will come: there are results, or the job has ended."""
        return self.example is not None or self.job.final

    def new_words(self, difference: Difference | None) -> list[int]:
        """The numbers of the words that the pinned text does not have, without separators."""
        if difference is None or self.sentence is None:
            return []
        words = self.sentence.words
        return [number for number in sorted(difference.changed) if not words[number].special]

    def marked(self, difference: Difference | None) -> ShownSentence | None:
        """Its words, with those underlined that the pinned text does not have."""
        numbers = self.new_words(difference)
        if self.words is None or self.sentence is None or not numbers:
            return self.words
        figure = underlined(self.words.figure, self.sentence, numbers)
        return replace(self.words, figure=figure)


@dataclass(frozen=True, kw_only=True)
class HeadChange:
    """A head whose score differs between two columns."""

    name: str
    place: str
    """site.head"""
    before: float
    after: float

    @property
    def change(self) -> float:
        """The difference of the scores."""
        return self.after - self.before


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The differences of a column from the pinned one."""

    probabilities: tuple[float, ...] = ()
    """By label; empty for models of other labels."""
    changed: frozenset[int] = frozenset()
    """Indices of words that the pinned text does not have at that place."""
    gone: tuple[str, ...] = ()
    """Words of the pinned text that are not there."""
    heads: tuple[HeadChange, ...] = ()
    """Those that differ most; empty for models of another shape."""


def column_of(job: Job, tree_choices: Mapping[str, str]) -> Column:
    """The column of a job of one text."""
    opened = database()
    status = status_of(opened, job, settings())
    if not job.examples_done:
        return Column(job=job, status=status)
    shown = shown_of(opened, job.id, 0)
    found, sites = shown.example, shown.sites
    scores = results.example_scores(opened, job.id, 0)
    pieces = read_pieces(found.tokens or (), found.texts, found.words)
    names = text_names(job)
    pairs = [
        pair_of(edge, sites, shown.words, pieces, names)
        for edge in results.example_edges(opened, job.id, 0)
    ]
    return Column(
        job=job,
        status=status,
        shown=shown,
        pairs=pairs[:PAIRS],
        grid=grid_of(sites, scores, pieces) if scores else None,
        chosen=_chosen(sites, scores, pairs, pieces, shown.words, names),
        tree_choices=tree_choices,
    )


def _chosen(*found: Any) -> dict[str, Any] | None:
    """The chosen head; None in a column whose model does not have it."""
    try:
        return chosen_head(*found)
    except NotFoundError:
        return None


def compare(pinned: Column, column: Column) -> Difference:
    """The differences of a column from the pinned one."""
    if pinned.example is None or column.example is None:
        return Difference()
    changed, gone = _words(pinned.sentence, column.sentence)
    return Difference(
        probabilities=_probabilities(pinned, column),
        changed=changed,
        gone=gone,
        heads=_heads(pinned, column),
    )


def export_of(column: Column) -> dict[str, Any]:
    """A column for a file."""
    found = column.example
    shown: dict[str, Any] = {
        "job": column.job.id,
        "model": column.job.spec["model"],
        "target": column.job.spec["target"],
        "state": column.job.state.value,
        "labels": column.job.labels,
    }
    if found is None:
        return shown
    return shown | {
        "texts": list(found.texts),
        "probabilities": found.probabilities,
        "predicted": found.predicted,
        "words": [
            {"word": word.text, "text": word.segment, "attribution": value}
            for word, value in zip(column.sentence.words, column.sentence.values, strict=True)
        ]
        if column.sentence
        else [],
        "pairs": [
            {
                "head": pair["name"],
                "query": pair["query"].text,
                "key": pair["key"].text,
                "attribution": pair["value"],
                "attention": pair["attention"],
            }
            for pair in column.pairs
        ],
        "heads": [
            {"head": f"{line['name']} H{cell['head']}", "score": cell["row"]["score"]}
            for line in (column.grid or {"lines": []})["lines"]
            for cell in line["cells"]
            if cell["row"]
        ],
    }


def _probabilities(pinned: Column, column: Column) -> tuple[float, ...]:
    before, after = (
        (one.example.probabilities if one.example else None) or () for one in (pinned, column)
    )
    if pinned.job.labels != column.job.labels or len(before) != len(after):
        return ()
    return tuple(b - a for a, b in zip(before, after, strict=True))


def _words(
    before: Sentence | None, after: Sentence | None
) -> tuple[frozenset[int], tuple[str, ...]]:
    """The words of a text that the one before does not have there, and those that are gone."""
    if before is None or after is None:
        return frozenset(), ()
    old, new = ([word.text for word in one.words] for one in (before, after))
    changed: set[int] = set()
    gone: list[str] = []
    for what, low, high, start, end in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if what != "equal":
            changed |= set(range(start, end))
            gone += old[low:high]
    return frozenset(changed), tuple(gone)


def _heads(pinned: Column, column: Column) -> tuple[HeadChange, ...]:
    """The heads whose scores differ, the most first."""
    before, after = _scores(pinned), _scores(column)
    if before.keys() != after.keys():
        return ()
    found = [
        HeadChange(name=name, place=place, before=before[place, name], after=score)
        for (place, name), score in after.items()
    ]
    changed = [one for one in found if one.change]
    return tuple(sorted(changed, key=lambda one: -abs(one.change))[:HEADS])


def _scores(column: Column) -> dict[tuple[str, str], float]:
    """The score of every head, by its place and name."""
    return {
        (
            f"{line['site'].site}.{cell['head']}",
            head_name(line["site"].layer, cell["head"], line["site"].attention_type),
        ): float(cell["row"]["score"])
        for line in (column.grid or {"lines": []})["lines"]
        for cell in line["cells"]
        if cell["row"]
    }
