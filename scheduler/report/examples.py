"""The examples that a report shows: a few that tell much, each with its figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from db.database import Database
from db.reads.jobs import Job
from db.reads.results import list_sites
from db.reads.telling import telling_examples
from headwise.figures import Figure
from jobs.errors import NotFoundError
from scheduler.figures.examples import ShownExample, figures_of_example, shown_in
from scheduler.figures.telling import describe


@dataclass(frozen=True, kw_only=True)
class ReportExample:
    """An example of a report."""

    title: str
    about: str
    """A sentence on the prediction."""
    reason: str
    """The reason for which it is shown, at the end of its captions."""
    figures: list[Figure]


def examples_of(database: Database, job: Job) -> Iterator[ReportExample]:
    """The telling examples of an attribution job; none where no texts are kept."""
    sites = list_sites(database, job.id)
    for one in telling_examples(database, job.id):
        shown = shown_in(database, job, sites, one.example)
        yield ReportExample(
            title=f"Example {one.example} of job {job.id}",
            about=describe(one, job.labels),
            reason=f"Shown as {one.reason}.",
            figures=list(_figures(shown)),
        )


def _figures(shown: ShownExample) -> Iterator[Figure]:
    """Words, strongest pairs and tree, as far as they are stored."""
    figures = figures_of_example(shown)
    for kind in figures.kinds:
        try:
            yield figures.draw(shown.database, kind.name, {}).figure
        except NotFoundError:
            continue
