"""Agreement of the rankings that a comparison shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from db.database import Database
from db.reads.jobs import Job
from db.results import rankings
from headwise.stats.ranking import correlation
from jobs.kinds import ranking_source
from scheduler.comparison.figures import compared_rankings, shared
from scheduler.comparison.sides import Side


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The rank correlation of two rankings of heads."""

    one: str
    """A ranking: `job.source`."""
    other: str
    spearman: float | None
    """None where one of them is constant."""


def agreements(
    database: Database, ranked: Sequence[tuple[Side, str, Job]]
) -> tuple[Mapping[str, str], list[Agreement]]:
    """The titles of the finished rankings by `job.source`, and Spearman's correlation of every two.

    Rankings of models of different shape have none.
    """
    titles, means = {}, {}
    for side, source, job in ranked:
        with database.read() as tx:
            found_means = rankings.read(tx, job.id, source)
        if found_means.size:
            key = f"{job.id}.{source}"
            titles[key] = f"{ranking_source(source).title}, {side.name}"
            means[key] = found_means
    found = []
    for one, other in combinations(means, 2):
        if means[one].shape == means[other].shape:
            rho = correlation(means[one], means[other]).spearman
            value = None if math.isnan(rho) else rho
            found.append(Agreement(one=one, other=other, spearman=value))
    return titles, found


def agreements_by_source(
    database: Database, sides: Sequence[Side]
) -> list[tuple[str, str, float | None]]:
    """Of two sides, name and title of each source that both rank heads by, and the correlation.

    A source whose rankings are of models of different shape is left out.
    """
    found = []
    for source, title in shared(sides).items():
        ranked = compared_rankings(sides, source)
        _, pairs = agreements(database, ranked)
        found += [(source, title, pair.spearman) for pair in pairs]
    return found
