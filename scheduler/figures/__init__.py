"""The figures of jobs.

Those of a kind of job are in the module of its name; a kind without one has those of importance
jobs if it ranks heads. Pages, the API and commands draw with them.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from db.reads.jobs import Job
from jobs.kinds import NAMES, SPECS
from scheduler.figures import importance
from scheduler.figures.base import FigureKind, Figures

FIGURES: dict[str, tuple[FigureKind[Job], ...]] = {
    name: import_module(f"{__name__}.{name}").FIGURES
    for name in NAMES
    if find_spec(f"{__name__}.{name}")
}
"""The figures of every kind of job."""


def figures_of(job: Job) -> Figures[Job]:
    """The figures that a job has, or will have."""
    ranks = importance.FIGURES if SPECS[job.kind].ranking_sources else ()
    kinds = FIGURES.get(job.kind, ranks)
    return Figures(subject=job, title=f"Job {job.id}", file_name=f"job-{job.id}", kinds=kinds)
