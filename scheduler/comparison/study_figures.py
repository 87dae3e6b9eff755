"""The figures of a study: its own, and those of its jobs."""

from __future__ import annotations

from collections.abc import Mapping

from db.database import Database
from db.reads.jobs import Job
from headwise.figures import Figure
from jobs.errors import NotFoundError
from scheduler.comparison.figures import bump_of
from scheduler.comparison.sides import Side
from scheduler.figures import FIGURES
from scheduler.figures.base import Choices, FigureKind, Figures


def figures_of_study(study: Side) -> Figures[Side]:
    """The figures of a study: its own, and those of its jobs."""
    return Figures(
        subject=study,
        title=f"Study {study.number}",
        file_name=f"study-{study.number}",
        kinds=STUDY,
    )


def _study_ranks(database: Database, study: Side, _chosen: Mapping[str, str]) -> Figure:
    found = [(name, job, f", job {job.id}") for name, job in study.rankings]
    return bump_of(database, [study], found)


def _of_step(kind: str, figure: FigureKind[Job]) -> FigureKind[Side]:
    """The figure of a study's first job of a kind, as one of the study."""

    def draw(database: Database, study: Side, chosen: Mapping[str, str]) -> Figure:
        if job := study.job(kind):
            return figure.draw(database, job, chosen)
        raise NotFoundError(f"Study {study.number} has no finished job of kind {kind}.")

    def choices(database: Database, study: Side) -> Choices:
        job = study.job(kind)
        return figure.choices(database, job) if job else {}

    return FigureKind(name=figure.name, title=figure.title, draw=draw, choices=choices)


_ATTRIBUTION = {one.name: one for one in FIGURES["attribution"]}
STUDY: tuple[FigureKind[Side], ...] = (
    _of_step("attribution", _ATTRIBUTION["heads"]),
    FigureKind(name="ranks", title="Ranks by several sources", draw=_study_ranks),
    *(_of_step("pruning", one) for one in FIGURES["pruning"]),
    *(_of_step("attack", one) for one in FIGURES["attack"]),
    _of_step("attribution", _ATTRIBUTION["completeness"]),
)
"""The figures of a study."""
