"""The figures of one example: its words, its strongest pairs, its attribution tree.

Also the words and trees themselves, as pages show them beside the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from db.database import Database
from db.reads import jobs as job_reads
from db.reads import results
from db.reads.jobs import Job
from db.reads.results import Example, Site
from headwise.figures import Source
from headwise.figures.sentence import ALL_LAYERS, Pair, SentenceFigure, arcs, tree, words
from headwise.naming import head_name, site_label
from headwise.sentences import (
    Sentence,
    Word,
    by_word,
    mean_over_layers,
    read_pieces,
    read_words,
    word_at,
)
from headwise.trees import FLOOR, RULES, TAU, TAU_LAST, Interactions, build
from jobs.errors import NotFoundError, refuse
from jobs.results.head_tokens import STRONGEST
from scheduler.figures.base import Choices, FigureKind, Figures, source

ALL = "all"
STEPS = 20
"""Thresholds that can be chosen are multiples of 1/STEPS."""


def _shares(default: float, low: float) -> dict[str, str]:
    """Thresholds from the lowest one on, the default first."""
    shares = [step / STEPS for step in range(STEPS + 1) if step / STEPS >= low]
    return {f"{share:g}": f"{share:.0%}" for share in (default, *shares)}


TREE_CHOICES: Choices = {
    "root": RULES,
    "tau": _shares(TAU, FLOOR),
    "tau_last": _shares(TAU_LAST, 0.0),
}
"""The choices of a tree of any text; one of its tokens can be the root, too."""


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """An example with what its figures are made of."""

    database: Database
    job: Job
    example: Example
    sites: list[Site]

    @property
    def source(self) -> Source:
        """The origin of its numbers."""
        return source(self.job, None, example=self.example.example)

    @cached_property
    def words(self) -> list[Word]:
        """Its words; positions where texts were not kept."""
        attribution = self.example.token_attribution
        length = len(attribution[0]) if attribution else 0
        tokens = self.example.named_tokens(length)
        return read_words(tokens, self.example.texts, self.example.words)

    @cached_property
    def interactions(self) -> Interactions | None:
        """The cells that its trees are built from; None where the job stored none."""
        return results.read_interactions(self.database, self.job.id, self.example.example)

    def sentence(self, site: int | None = None) -> Sentence:
        """Its words with their values at one site, or on average over all."""
        attribution = self.example.token_attribution or []
        if attribution and site is not None:
            return by_word(self.words, attribution[site])
        return by_word(self.words, mean_over_layers(attribution))

    def names(self, length: int) -> tuple[str, ...]:
        """Its tokens as they were written; their numbers where texts were not kept."""
        tokens = self.example.named_tokens(length)
        return tuple(
            one.text for one in read_pieces(tokens, self.example.texts, self.example.words)
        )

    def nothing(self) -> NotFoundError:
        """The error for a figure that the example does not have."""
        return NotFoundError(
            f"Job {self.job.id} has nothing to draw for this figure of example "
            f"{self.example.example}."
        )


def shown_of(database: Database, job_id: int, example_no: int) -> ShownExample:
    """An example of a job. Raises NotFoundError."""
    job = job_reads.get_job(database, job_id)
    return shown_in(database, job, results.list_sites(database, job_id), example_no)


def shown_in(database: Database, job: Job, sites: list[Site], example_no: int) -> ShownExample:
    """An example of a job that was read with its sites. Raises NotFoundError."""
    example = results.get_example(database, job.id, example_no)
    return ShownExample(database=database, job=job, example=example, sites=sites)


def figures_of_example(shown: ShownExample) -> Figures[ShownExample]:
    """The figures that an example has, or would have if its job had stored them."""
    job, example = shown.job.id, shown.example.example
    return Figures(
        subject=shown,
        title=f"Example {example} of job {job}",
        file_name=f"job-{job}-example-{example}",
        kinds=FIGURES,
    )


def stored_cells(shown: ShownExample) -> Interactions:
    """The cells that the example's trees are built from. Raises NotFoundError."""
    if shown.interactions is None:
        raise NotFoundError(f"Job {shown.job.id} has no tree of example {shown.example.example}.")
    return shown.interactions


def _places(_database: Database, shown: ShownExample) -> Choices:
    sites = {str(site.site): site_label(site.layer, site.attention_type) for site in shown.sites}
    heads = range(max((site.heads for site in shown.sites), default=0))
    return {
        "site": {ALL: "all layers", **sites},
        "head": {ALL: "all heads", **{str(head): f"H{head}" for head in heads}},
    }


def _words(database: Database, shown: ShownExample, chosen: Mapping[str, str]) -> SentenceFigure:
    site = None if chosen["site"] == ALL else shown.sites[int(chosen["site"])]
    if chosen["head"] != ALL:
        return _words_of_head(database, shown, site, int(chosen["head"]))
    if not shown.example.token_attribution:
        raise shown.nothing()
    if site is None:
        return words(shown.sentence(), ALL_LAYERS, sources=[shown.source])
    name = site_label(site.layer, site.attention_type)
    return words(shown.sentence(site.site), f"read by any head of {name}", sources=[shown.source])


def _words_of_head(
    database: Database, shown: ShownExample, site: Site | None, head: int
) -> SentenceFigure:
    """The words with the attribution that one head reads of them."""
    if site is None:
        raise refuse("head", str(head), "needs a site", "Choose one, such as `site=0`.")
    number = shown.example.example
    place = {"example": number, "site": site.site, "head": head}
    values = results.example_head_tokens(database, shown.job.id, **place)
    if values is None:
        raise shown.nothing()
    known = [0.0 if math.isnan(value) else value for value in values]
    partial = any(map(math.isnan, values))
    note = f"Of this long text, only the {STRONGEST} tokens that the head reads most count."
    return words(
        by_word(shown.words, known),
        f"read by head {head_name(site.layer, head, site.attention_type)}",
        note if partial else "",
        [shown.source],
    )


def _arcs(database: Database, shown: ShownExample, _chosen: Mapping[str, str]) -> SentenceFigure:
    found = []
    for edge in results.example_edges(database, shown.job.id, shown.example.example):
        ends = [word_at(shown.words, edge[end]) for end in ("query", "key")]
        if edge["site"] >= len(shown.sites) or None in ends:
            continue
        site = shown.sites[edge["site"]]
        found.append(
            Pair(
                rank=edge["rank"],
                query=ends[0] or 0,
                key=ends[1] or 0,
                head=head_name(site.layer, edge["head"], site.attention_type),
                attribution=edge["attribution"],
                attention=edge["attention"],
            )
        )
    if not found:
        raise shown.nothing()
    return arcs(shown.words, found, [shown.source])


def _tree_choices(_database: Database, shown: ShownExample) -> Choices:
    stored = shown.interactions
    names = shown.names(stored.length) if stored else ()
    roots = {str(i): f"{i}: {name}" for i, name in enumerate(names)}
    return {**TREE_CHOICES, "root": {**RULES, **roots}}


def _tree(_database: Database, shown: ShownExample, chosen: Mapping[str, str]) -> SentenceFigure:
    stored = stored_cells(shown)
    root = chosen["root"]
    built = build(
        stored,
        shown.sites,
        shown.names(stored.length),
        root=root if root in RULES else int(root),
        tau=float(chosen["tau"]),
        tau_last=float(chosen["tau_last"]),
    )
    return tree(built, [shown.source])


FIGURES: tuple[FigureKind[ShownExample], ...] = (
    FigureKind(name="words", title="Words", draw=_words, choices=_places),
    FigureKind(name="arcs", title="Strongest pairs", draw=_arcs),
    FigureKind(name="tree", title="Attribution tree", draw=_tree, choices=_tree_choices),
)
