"""Sentences that say what a study found, made of stored results only.

The sentences about a kind of job are in the module of its name; a kind without one has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from db.database import Database
from db.reads.jobs import Job
from db.results import rankings
from headwise.stats.ranking import correlation
from jobs.formatting import counted
from jobs.kinds import NAMES, ranking_source
from jobs.specs.submission import parse_spec
from jobs.states import JobState

Doubles = NDArray[np.float64]

FINDINGS: dict[str, Callable[[Database, Job], list[str]]] = {
    name: import_module(f"{__name__}.{name}").findings
    for name in NAMES
    if find_spec(f"{__name__}.{name}")
}
"""The sentences about a job that has succeeded, by its kind."""


def job_findings(database: Database, job: Job) -> list[str]:
    """Sentences about one job; none unless it has succeeded."""
    if job.state is not JobState.SUCCEEDED or job.kind not in FINDINGS:
        return []
    return FINDINGS[job.kind](database, job)


def findings(database: Database, jobs: Mapping[str, Job]) -> dict[str, list[str]]:
    """Sentences by step, of the steps that have succeeded."""
    found = {step: job_findings(database, job) for step, job in jobs.items()}
    if agreement := agree(ranked(database, jobs)):
        found["agreement"] = agreement
    return {step: some for step, some in found.items() if some}


def ranked(database: Database, jobs: Mapping[str, Job]) -> dict[tuple[int, str], Doubles]:
    """Mean importance [S, H] by job and source, of the rankings that a study compares."""
    return {
        (job.id, source): rankings.get_means(database, job.id, source)
        for job in jobs.values()
        if job.state is JobState.SUCCEEDED
        for source in parse_spec(job.spec).compared
    }


def agree(means: Mapping[tuple[int, str], Doubles]) -> list[str]:
    """The two rankings that agree most and the two that agree least, by Spearman's correlation."""
    pairs = [
        (found.spearman, found.n, ranking_source(one[1]).title, ranking_source(other[1]).title)
        for one, other in combinations(means, 2)
        if not math.isnan((found := correlation(means[one], means[other])).spearman)
    ]
    if not pairs:
        return []
    pairwise = [
        f"{a} and {b} order the {counted(n, 'head')} with a rank correlation of {rho:z.2f}"
        for rho, n, a, b in dict.fromkeys((max(pairs), min(pairs)))
    ]
    if len(pairwise) == 1:
        return [pairwise[0] + "."]
    most, least = pairwise
    return [f"The two that agree most: {most}.", f"The two that agree least: {least}."]
